"""Microsoft's Graph SDK for Python and azure-identity, with Microsoft's own addresses.

sdk_client.py SIMULATION.json   the output of graph2mqtt simulate --json --proxy ...

Needs HTTPS_PROXY, NO_PROXY=127.0.0.1 for the control API, REQUESTS_CA_BUNDLE for the sign-in and SSL_CERT_FILE for Graph. Prints nothing
if the simulator behaves like Microsoft.
"""

import asyncio
import json
import sys

import requests
from azure.identity import DeviceCodeCredential
from kiota_abstractions.base_request_configuration import RequestConfiguration
from msgraph import GraphServiceClient
from msgraph.generated.models.date_time_time_zone import DateTimeTimeZone
from msgraph.generated.models.event import Event
from msgraph.generated.models.o_data_errors.o_data_error import ODataError
from msgraph.generated.users.item.calendar_view.calendar_view_request_builder import CalendarViewRequestBuilder

with open(sys.argv[1]) as f:
    simulation = json.load(f)


def approve(address, code, expires):
    requests.post(f"{simulation['control']}/devices/{code}/approve").raise_for_status()


def at(hour):
    return DateTimeTimeZone(date_time=f"2030-06-01T{hour}:00:00", time_zone="UTC")


async def refused(request, status, code):
    try:
        answer = await request
    except ODataError as e:
        assert (e.response_status_code, e.error.code) == (status, code), e
    else:
        raise AssertionError(answer)


async def main():
    credential = DeviceCodeCredential(client_id=simulation["client_id"], tenant_id="common", prompt_callback=approve)
    graph = GraphServiceClient(credential, ["User.Read", "Calendars.ReadWrite"])
    assert (await graph.me.get()).display_name == "Adele Vance"

    made = [await graph.me.events.post(Event(subject=f"Meeting {hour}", start=at(hour), end=at(hour + 1))) for hour in range(10, 13)]
    query = CalendarViewRequestBuilder.CalendarViewRequestBuilderGetQueryParameters(
        start_date_time="2030-06-01T00:00:00Z", end_date_time="2030-06-02T00:00:00Z", top=2, orderby=["start/dateTime"], select=["subject"])
    page = await graph.me.calendar_view.get(RequestConfiguration(query_parameters=query))
    assert [e.subject for e in page.value] == ["Meeting 10", "Meeting 11"], page
    page = await graph.me.calendar_view.with_url(page.odata_next_link).get()
    assert [e.subject for e in page.value] == ["Meeting 12"] and not page.odata_next_link, page

    changed = await graph.me.events.by_event_id(made[0].id).patch(Event(subject="Moved", start=at(14), end=at(15)))
    assert (changed.subject, changed.start.date_time[:13]) == ("Moved", "2030-06-01T14"), changed
    for event in made:
        await graph.me.events.by_event_id(event.id).delete()
    await refused(graph.me.events.by_event_id(made[0].id).get(), 404, "ErrorItemNotFound")
    await refused(graph.me.mailbox_settings.get(), 403, "ErrorAccessDenied")


asyncio.run(main())
