"""An independent client of Microsoft Graph, written with MSAL and requests.

client.py SIMULATION.json   the output of graph2mqtt simulate --json

Prints nothing if the simulator behaves like Microsoft.
"""

import json
import sys
from urllib.parse import parse_qs, urlsplit

import msal
import requests

with open(sys.argv[1]) as f:
    simulation = json.load(f)
graph = simulation["graph"] + "/v1.0"
web = requests.Session()
web.verify = simulation["ca_file"]


def new_app(cache=None):
    return msal.PublicClientApplication(
        simulation["client_id"],
        authority=simulation["login"] + "/common",
        instance_discovery=False,
        verify=simulation["ca_file"],
        token_cache=cache,
    )


def control(method, operation, status, /, **body):
    answer = web.request(method, simulation["control"] + operation, json=body or None)
    assert answer.status_code == status, (method, operation, answer.status_code, answer.text)
    return answer.json() if answer.content else None


def get(token, path, status=200, **more):
    address = path if path.startswith("https:") else graph + path
    answer = web.get(address, headers={"Authorization": "Bearer " + token, **more.pop("headers", {})}, **more)
    assert answer.status_code == status, (path, answer.status_code, answer.text)
    return answer.json()


def refused(token, path, status, code):
    error = get(token, path, status)["error"]
    assert error["code"] == code, error


def by_browser(app, scopes):
    """Signs in with an authorization code and PKCE, following each redirect."""
    flow = app.initiate_auth_code_flow(scopes, redirect_uri="http://localhost:53682")
    address = flow["auth_uri"]
    while not address.startswith("http://localhost"):
        page = web.get(address, allow_redirects=False)
        assert page.status_code == 302, page.text
        address = page.headers["Location"]
    answer = {k: v[0] for k, v in parse_qs(urlsplit(address).query).items()}
    return app.acquire_token_by_auth_code_flow(flow, answer)


def by_device(app, scopes):
    """Signs in with a device code that is approved elsewhere."""
    flow = app.initiate_device_flow(scopes)
    assert flow["user_code"] in control("GET", "/devices", 200)["value"], flow
    control("POST", f"/devices/{flow['user_code']}/approve", 204)
    return app.acquire_token_by_device_flow(flow)


def signed_in(result, address, scopes):
    assert "access_token" in result, result
    assert result["id_token_claims"]["preferred_username"] == address, result["id_token_claims"]
    assert set(scopes) <= set(result["scope"].split()), result["scope"]
    return result["access_token"]


def pages(token, path, **more):
    """Returns every entry of a collection, and the number of pages."""
    entries, n = [], 0
    while path:
        page = get(token, path, **more)
        entries += page["value"]
        n += 1
        path = page.get("@odata.nextLink")
        more.pop("params", None)  # the link contains them
    return entries, n


def subjects(events):
    return sorted(e["subject"] for e in events)


# Adele signs in with the browser and may only read her calendars.
adele = "adele@contoso.example"
app = new_app()
token = signed_in(by_browser(app, ["User.Read", "Calendars.Read"]), adele, ["User.Read", "Calendars.Read"])
me = get(token, "/me", params={"$select": "displayName,mail"})
assert me["displayName"] == "Adele Vance" and me["mail"] == adele, me

base = f"/users/{adele}/calendars"
birthdays = next(c for c in get(token, "/me/calendars")["value"] if c["name"] == "Birthdays")
for hour in range(7, 12):
    control("POST", f"{base}/Birthdays/events", 200, subject=f"Guest {hour}",
            start={"dateTime": f"2030-05-02T{hour:02}:00:00", "timeZone": "W. Europe Standard Time"},
            end={"dateTime": f"2030-05-02T{hour:02}:30:00", "timeZone": "W. Europe Standard Time"})
view, n = pages(
    token, f"/me/calendars/{birthdays['id']}/calendarView",
    params={"startDateTime": "2030-05-02T00:00:00Z", "endDateTime": "2030-05-03T00:00:00Z", "$top": 2, "$orderby": "start/dateTime", "$select": "subject,start"},
    headers={"Prefer": 'outlook.timezone="Europe/Berlin"'},
)
assert n == 3 and [e["start"]["dateTime"][:16] for e in view] == [f"2030-05-02T{h:02}:00" for h in range(7, 12)], (n, view)
series = next(e for e in pages(token, "/me/events")[0] if e["type"] == "seriesMaster")
instances, _ = pages(
    token, f"/me/events/{series['id']}/instances",
    params={"startDateTime": "2030-01-01", "endDateTime": "2030-04-01"},
    headers={"Prefer": 'outlook.timezone="Europe/Berlin"'},
)
assert [i["start"]["dateTime"][:10] for i in instances] == ["2030-01-08", "2030-02-12", "2030-03-12"], instances
assert web.get(graph + "/me/calendars/$count", headers={"Authorization": "Bearer " + token}).text == "3"

refused(token, "/me/mailboxSettings", 403, "ErrorAccessDenied")
refused(token, "/me/presence", 403, "Forbidden")
refused(token, "/users/megan@contoso.example/calendarView?startDateTime=2030-01-01&endDateTime=2030-01-02", 403, "ErrorAccessDenied")
assert web.post(graph + "/me/events", json={"subject": "x"}, headers={"Authorization": "Bearer " + token}).status_code == 403
refused("made up", "/me", 401, "InvalidAuthenticationToken")

# Alex's shared calendar is listed among hers and can be read like them.
shared = next(c for c in get(token, "/me/calendars")["value"] if c["owner"]["address"] == "alex@contoso.example")
assert shared["canEdit"] is False, shared
assert subjects(get(token, f"/me/calendars/{shared['id']}/events")["value"]) == ["Presentation"]

# She consents to more permissions; earlier consents remain.
more = ["Calendars.Read.Shared", "MailboxSettings.Read", "Presence.Read"]
token = signed_in(by_browser(app, more), adele, ["Calendars.Read", *more])
settings = get(token, "/me/mailboxSettings")
assert settings["timeZone"] == "W. Europe Standard Time" and settings["automaticRepliesSetting"]["status"] == "disabled", settings
control("PATCH", f"/users/{adele}/mailboxSettings", 200, automaticRepliesSetting={"status": "alwaysEnabled"})
assert get(token, "/me/mailboxSettings/automaticRepliesSetting")["status"] == "alwaysEnabled"
assert get(token, "/me/presence")["availability"] == "Available"
# The meeting of this day has the hour of the user's time zone at which the simulator was started, so part of it can be on another day in UTC.
schedule = web.post(graph + "/me/calendar/getSchedule", headers={"Authorization": "Bearer " + token}, json={
    "schedules": [adele], "availabilityViewInterval": 60,
    "startTime": {"dateTime": "2030-01-07T12:00:00", "timeZone": "UTC"}, "endTime": {"dateTime": "2030-01-09T12:00:00", "timeZone": "UTC"},
}).json()["value"][0]
assert schedule["availabilityView"].count("2") == len(schedule["availabilityView"].strip("0")) == 2, schedule

# Megan signs in with a device code.
control("PUT", "/signin", 200, user="megan@contoso.example")
cache = msal.TokenCache()
app = new_app(cache)
signed_in(by_device(app, ["User.Read"]), "megan@contoso.example", ["User.Read"])
account = app.get_accounts()[0]

# Expired and revoked tokens, and Entra ID's errors for MSAL.
token = app.acquire_token_silent(["User.Read"], account)["access_token"]
control("PATCH", "/clock", 200, advance="2h")
refused(token, "/me", 401, "InvalidAuthenticationToken")
token = signed_in(app.acquire_token_silent_with_error(["User.Read"], account, force_refresh=True), "megan@contoso.example", ["User.Read"])
assert get(token, "/me")["mail"] == "megan@contoso.example"
control("POST", "/users/megan@contoso.example/revoke", 204)
result = app.acquire_token_silent_with_error(["User.Read"], account, force_refresh=True)
assert result["error"] == "invalid_grant" and result["error_codes"] == [50173], result
control("PATCH", "/clock", 200, offset="0s")

# Refused consent, and an injected fault.
control("PUT", "/signin", 200, user=adele, declines=["Mail.Read"])
assert by_browser(new_app(), ["Mail.Read"])["error"] == "access_denied"
token = signed_in(by_browser(new_app(), ["User.Read"]), adele, ["User.Read"])
control("POST", "/faults", 200, path="/v1.0/me", status=429, retryAfter="3")
answer = web.get(graph + "/me", headers={"Authorization": "Bearer " + token})
assert answer.status_code == 429 and answer.headers["Retry-After"] == "3", answer.headers
get(token, "/me")
assert control("GET", "/requests?method=GET&path=/v1.0/me", 200)["value"][-2]["status"] == 429
