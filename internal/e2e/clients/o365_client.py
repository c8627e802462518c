"""O365, a client of Microsoft Graph for Python, with Microsoft's own addresses.

o365_client.py SIMULATION.json   the output of graph2mqtt simulate --json --proxy ...

Needs HTTPS_PROXY and REQUESTS_CA_BUNDLE. Prints nothing if the simulator behaves like Microsoft.
"""

import json
import sys
from datetime import datetime
from zoneinfo import ZoneInfo

import requests
from O365 import Account
from O365.utils.token import MemoryTokenBackend

with open(sys.argv[1]) as f:
    simulation = json.load(f)
utc = ZoneInfo("UTC")

account = Account((simulation["client_id"],), auth_flow_type="public", tenant_id="common", token_backend=MemoryTokenBackend())
sign_in = {"requested_scopes": ["Calendars.ReadWrite", "User.Read", "MailboxSettings.ReadWrite"], "redirect_uri": "http://localhost"}
address, flow = account.con.get_authorization_url(**sign_in)
page = requests.get(address, allow_redirects=False)
assert page.status_code == 302, page.text
assert account.con.request_token(page.headers["Location"], flow=flow, **sign_in)

user = account.get_current_user_data()
assert user.display_name == "Adele Vance", user.display_name
assert account.mailbox().get_settings().timezone == "W. Europe Standard Time"

schedule = account.schedule()
calendar = schedule.get_default_calendar()
assert calendar.name == "Calendar", calendar.name
assert {"Calendar", "Birthdays"} <= {c.name for c in schedule.list_calendars()}

event = calendar.new_event()
event.subject = "Planning"
event.start, event.end = datetime(2030, 6, 1, 10, tzinfo=utc), datetime(2030, 6, 1, 11, tzinfo=utc)
event.location = "Room"
event.attendees.add("megan@contoso.example")
event.remind_before_minutes = 10
assert event.save()
event.subject = "Planning, part 2"
assert event.save()

query = calendar.new_query()
start, end = query.greater_equal("start", datetime(2030, 5, 31, tzinfo=utc)), query.less_equal("end", datetime(2030, 6, 2, tzinfo=utc))
view = list(calendar.get_events(start_recurring=start, end_recurring=end, include_recurring=True))
assert [e.subject for e in view] == ["Planning, part 2"], view
found = list(calendar.get_events(query=query.contains("subject", "part 2"), include_recurring=False))
assert [(e.subject, e.start.astimezone(utc), e.location["displayName"]) for e in found] == [(event.subject, event.start, "Room")], found
assert [a.address for a in found[0].attendees] == ["megan@contoso.example"], found[0].attendees

assert event.delete()
assert not list(calendar.get_events(start_recurring=start, end_recurring=end, include_recurring=True))
