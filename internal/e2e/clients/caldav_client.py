"""Uses a calendar and a task list with python-caldav: caldav_client.py URL USER PASSWORD."""

import sys
from datetime import date, datetime, timedelta, timezone

import caldav

url, user, password = sys.argv[1:4]
client = caldav.DAVClient(url, username=user, password=password)
principal = client.principal()
collections = {c.name: c for c in principal.calendars()}
print("collections:", sorted(collections))
calendar, tasks = collections["Work calendar"], collections["Work tasks"]
print("components:", calendar.get_supported_components(), tasks.get_supported_components())


def event(uid, begin, summary, more=""):
    return (
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//test//EN\r\nBEGIN:VEVENT\r\n"
        f"UID:{uid}\r\nDTSTAMP:20261126T120000Z\r\nDTSTART:{begin:%Y%m%dT%H%M%SZ}\r\n"
        f"DTEND:{begin + timedelta(hours=1):%Y%m%dT%H%M%SZ}\r\nSUMMARY:{summary}\r\n{more}END:VEVENT\r\nEND:VCALENDAR\r\n"
    )


def values(obj):
    component = obj.icalendar_instance.subcomponents[0]
    return {name: str(component[name]) for name in ("UID", "SUMMARY", "LOCATION", "STATUS", "RRULE") if name in component}


begin = datetime(2031, 5, 5, 8, tzinfo=timezone.utc)
for save in (calendar.save_event, calendar.save_event):  # twice the same
    save(event("uid-1", begin, "Review, part 1", "LOCATION:Room 1\r\n"))
calendar.save_event(event("uid-2", begin + timedelta(days=1), "Kept"))
found = calendar.search(start=begin - timedelta(hours=1), end=begin + timedelta(days=2), event=True)
print("events:", sorted((values(e) for e in found), key=str))
half_open = calendar.search(start=begin + timedelta(hours=1), end=begin + timedelta(days=1), event=True)
print("between them:", [values(e) for e in half_open])
review = next(e for e in found if "Review" in values(e)["SUMMARY"])
review.icalendar_instance.subcomponents[0]["SUMMARY"] = "Review"
review.save()
review.load()
print("changed:", values(review))
review.delete()
print("left:", [values(e) for e in calendar.search(start=begin - timedelta(hours=1), end=begin + timedelta(days=2), event=True)])

token = tasks.objects_by_sync_token().sync_token
tasks.save_todo(summary="Gone", due=date(2031, 5, 5))
tasks.save_todo(summary="Kept", description="one\ntwo", due=date(2031, 5, 6), priority=1)
changed = tasks.objects_by_sync_token(token, load_objects=True)
print("since the token:", sorted(values(t)["SUMMARY"] for t in changed))
for todo in tasks.todos():
    if values(todo)["SUMMARY"] == "Gone":
        todo.delete()
    else:
        todo.complete()
print("open:", [values(t)["SUMMARY"] for t in tasks.todos()])
for todo in tasks.todos(include_completed=True):
    component = todo.icalendar_instance.subcomponents[0]
    print("completed:", values(todo)["SUMMARY"], component["DUE"].dt, component["PRIORITY"], repr(str(component["DESCRIPTION"])), values(todo)["STATUS"])
changed = tasks.objects_by_sync_token(changed.sync_token, load_objects=True)
print("since the next token:", [values(t)["SUMMARY"] for t in changed if t.data])
