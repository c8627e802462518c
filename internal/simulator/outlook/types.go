package outlook

import "github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"

// types are the entity types of Graph that Exchange serves, see https://learn.microsoft.com/graph/api/resources/event and the others.
type types struct {
	event, calendar, mailboxSettings *odata.Type
}

func newTypes() types {
	text, boolean, dateTime := odata.String(), odata.Boolean(), odata.Of(odata.DateTimeType())
	address := odata.ComplexType("physicalAddress", odata.Properties{"city": text, "countryOrRegion": text, "postalCode": text, "state": text, "street": text})
	coordinates := odata.ComplexType("outlookGeoCoordinates", odata.Properties{
		"accuracy": odata.Double(), "altitude": odata.Double(), "altitudeAccuracy": odata.Double(), "latitude": odata.Double(), "longitude": odata.Double(),
	})
	location := odata.ComplexType("location", odata.Properties{
		"address": odata.Of(address), "coordinates": odata.Of(coordinates), "displayName": text, "locationEmailAddress": text, "locationUri": text, "uniqueId": text,
		"locationType": odata.Enum("locationType", "default", "conferenceRoom", "homeAddress", "businessAddress", "geoCoordinates", "streetAddress", "hotel", "restaurant", "localBusiness", "postalAddress"),
		"uniqueIdType": odata.Enum("locationUniqueIdType", "unknown", "locationStore", "directory", "private", "bing"),
	})
	response := odata.ComplexType("responseStatus", odata.Properties{
		"response": odata.Enum("responseType", "none", "organizer", "tentativelyAccepted", "accepted", "declined", "notResponded"), "time": odata.DateTimeOffset(),
	})
	attendee := odata.ComplexType("attendee", odata.Properties{
		"emailAddress": odata.EmailAddress(), "proposedNewTime": odata.Of(timeSlot()), "status": odata.Of(response), "type": odata.Enum("attendeeType", "required", "optional", "resource"),
	})
	days := []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	pattern := odata.ComplexType("recurrencePattern", odata.Properties{
		"dayOfMonth": odata.Int32(), "daysOfWeek": odata.Enum("dayOfWeek", days...).Many(), "firstDayOfWeek": odata.Enum("dayOfWeek", days...),
		"index": odata.Enum("weekIndex", "first", "second", "third", "fourth", "last"), "interval": odata.Int32(), "month": odata.Int32(),
		"type": odata.Enum("recurrencePatternType", "daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"),
	})
	limits := odata.ComplexType("recurrenceRange", odata.Properties{
		"endDate": odata.Date(), "numberOfOccurrences": odata.Int32(), "recurrenceTimeZone": text, "startDate": odata.Date(),
		"type": odata.Enum("recurrenceRangeType", "endDate", "noEnd", "numbered"),
	})
	meeting := odata.ComplexType("onlineMeetingInfo", odata.Properties{
		"conferenceId": text, "joinUrl": text, "quickDial": text, "tollFreeNumbers": text.Many(), "tollNumber": text,
		"phones": odata.Of(odata.ComplexType("phone", odata.Properties{"language": text, "number": text, "region": text, "type": text})).Many(),
	})
	// Deep inserts name the derived type in @odata.type, which has more properties than these.
	attachment := odata.ComplexType("attachment", odata.Properties{
		"id": text.Computed(), "name": text, "contentType": text, "isInline": boolean, "size": odata.Int32(), "lastModifiedDateTime": odata.DateTimeOffset().Computed(),
	})
	attachment.Open = true
	calendar := odata.ComplexType("calendar", nil)
	event := odata.MailboxType("event", odata.Properties{
		"id": text.Computed(), "changeKey": text.Computed(), "createdDateTime": odata.DateTimeOffset().Computed(), "lastModifiedDateTime": odata.DateTimeOffset().Computed(),
		"categories": text.NotNull().Many(), "allowNewTimeProposals": boolean.NotNull(), "attendees": odata.Of(attendee).NotNull().Many(),
		"body":        odata.ItemBody(),
		"bodyPreview": text.Computed(), "cancelledOccurrences": text.Many().Computed(), "end": dateTime, "hasAttachments": boolean.Computed(), "hideAttendees": boolean.NotNull(),
		"iCalUId": text.Computed(), "importance": odata.Enum("importance", "low", "normal", "high").NotNull(), "isAllDay": boolean.NotNull(), "isCancelled": boolean.Computed(),
		"isDraft": boolean.Computed(), "isOnlineMeeting": boolean.NotNull(), "isOrganizer": boolean.Computed(), "isReminderOn": boolean.NotNull(),
		"location": odata.Of(location), "locations": odata.Of(location).NotNull().Many(), "occurrenceId": text.Computed(), "onlineMeeting": odata.Of(meeting).Computed(),
		"onlineMeetingProvider": odata.Enum("onlineMeetingProviderType", "unknown", "teamsForBusiness", "skypeForBusiness", "skypeForConsumer"),
		"onlineMeetingUrl":      text.Computed(), "organizer": odata.Recipient().Computed(), "originalEndTimeZone": text, "originalStart": odata.DateTimeOffset().Computed(),
		"originalStartTimeZone": text, "recurrence": odata.Of(odata.ComplexType("patternedRecurrence", odata.Properties{"pattern": odata.Of(pattern), "range": odata.Of(limits)})),
		"reminderMinutesBeforeStart": odata.Int32(), "responseRequested": boolean.NotNull(), "responseStatus": odata.Of(response).Computed(),
		"sensitivity": odata.Enum("sensitivity", "normal", "personal", "private", "confidential").NotNull(), "seriesMasterId": text.Computed(),
		"showAs": odata.Enum("freeBusyStatus", "free", "tentative", "busy", "oof", "workingElsewhere", "unknown").NotNull(), "start": dateTime, "subject": text,
		"transactionId": text, "type": odata.Enum("eventType", "singleInstance", "occurrence", "exception", "seriesMaster").Computed(), "uid": text.Computed(), "webLink": text.Computed(),
		"attachments": odata.Of(attachment).NotNull().Many().Link(true), "extensions": odata.Extensions(),
		"calendar":                      odata.Of(calendar).Computed().Link(false),
		"singleValueExtendedProperties": odata.SingleValueProperties(), "multiValueExtendedProperties": odata.MultiValueProperties(),
	})
	legacy := func(value odata.Property) odata.Property {
		return odata.Of(odata.ComplexType("legacyExtendedProperty", odata.Properties{"id": text, "value": value})).Many().Link(true)
	}
	return types{
		event: event,
		calendar: odata.MailboxType("calendar", odata.Properties{
			"id": text.Computed(), "name": text, "color": text, "hexColor": text, "isDefaultCalendar": boolean, "changeKey": text, "canShare": boolean,
			"canViewPrivateItems": boolean, "canEdit": boolean, "allowedOnlineMeetingProviders": text.Many(), "defaultOnlineMeetingProvider": text,
			"isTallyingResponses": boolean, "isRemovable": boolean, "owner": odata.EmailAddress(),
			"singleValueExtendedProperties": legacy(text), "multiValueExtendedProperties": legacy(text.Many()),
		}),
		mailboxSettings: newMailboxSettingsType(),
	}
}

func timeSlot() *odata.Type {
	dateTime := odata.Of(odata.DateTimeType())
	return odata.ComplexType("timeSlot", odata.Properties{"start": dateTime, "end": dateTime})
}

func newMailboxSettingsType() *odata.Type {
	text, dateTime := odata.String(), odata.Of(odata.DateTimeType())
	replies := odata.ComplexType("automaticRepliesSetting", odata.Properties{
		"externalAudience": odata.Enum("externalAudienceScope", "none", "contactsOnly", "all").NotNull(), "externalReplyMessage": text, "internalReplyMessage": text,
		"scheduledEndDateTime": dateTime, "scheduledStartDateTime": dateTime,
		"status": odata.Enum("automaticRepliesStatus", "disabled", "alwaysEnabled", "scheduled").NotNull(),
	})
	zone := odata.ComplexType("timeZoneBase", odata.Properties{"name": text})
	zone.Open = true // customTimeZone has more
	days := odata.Enum("dayOfWeek", "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
	hours := odata.ComplexType("workingHours", odata.Properties{"daysOfWeek": days.Many(), "startTime": text, "endTime": text, "timeZone": odata.Of(zone)})
	return odata.MailboxType("mailboxSettings", odata.Properties{
		"archiveFolder": text.Computed(), "automaticRepliesSetting": odata.Of(replies).NotNull(), "dateFormat": text,
		"delegateMeetingMessageDeliveryOptions": odata.Enum("delegateMeetingMessageDeliveryOptions", "sendToDelegateAndInformationToPrincipal", "sendToDelegateAndPrincipal", "sendToDelegateOnly"),
		"language":                              odata.Of(odata.ComplexType("localeInfo", odata.Properties{"displayName": text, "locale": text})), "timeFormat": text, "timeZone": text,
		"userPurpose": text.Computed(), "workingHours": odata.Of(hours),
	})
}
