package outlook

import "github.com/graph2mqtt/graph2mqtt/internal/simulator/odata"

// types are the entity types of Graph that Exchange serves, see https://learn.microsoft.com/graph/api/resources/event and the others.
type types struct {
	event, calendar, mailboxSettings *odata.Type
}

type properties = map[string]odata.Property

func complexType(name string, p properties) *odata.Type {
	return &odata.Type{Name: "microsoft.graph." + name, Properties: p}
}

func entityType(name string, p properties) *odata.Type {
	t := complexType(name, p)
	t.Mailbox, t.Denied = true, accessDenied()
	return t
}

func newTypes() types {
	text, boolean, dateTime := odata.String(), odata.Boolean(), odata.Of(odata.DateTimeType())
	address := complexType("physicalAddress", properties{"city": text, "countryOrRegion": text, "postalCode": text, "state": text, "street": text})
	coordinates := complexType("outlookGeoCoordinates", properties{
		"accuracy": odata.Double(), "altitude": odata.Double(), "altitudeAccuracy": odata.Double(), "latitude": odata.Double(), "longitude": odata.Double(),
	})
	location := complexType("location", properties{
		"address": odata.Of(address), "coordinates": odata.Of(coordinates), "displayName": text, "locationEmailAddress": text, "locationUri": text, "uniqueId": text,
		"locationType": odata.Enum("locationType", "default", "conferenceRoom", "homeAddress", "businessAddress", "geoCoordinates", "streetAddress", "hotel", "restaurant", "localBusiness", "postalAddress"),
		"uniqueIdType": odata.Enum("locationUniqueIdType", "unknown", "locationStore", "directory", "private", "bing"),
	})
	email := complexType("emailAddress", properties{"address": text, "name": text})
	recipient := complexType("recipient", properties{"emailAddress": odata.Of(email)})
	response := complexType("responseStatus", properties{
		"response": odata.Enum("responseType", "none", "organizer", "tentativelyAccepted", "accepted", "declined", "notResponded"), "time": odata.DateTimeOffset(),
	})
	attendee := complexType("attendee", properties{
		"emailAddress": odata.Of(email), "proposedNewTime": odata.Of(timeSlot()), "status": odata.Of(response), "type": odata.Enum("attendeeType", "required", "optional", "resource"),
	})
	days := []string{"sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"}
	pattern := complexType("recurrencePattern", properties{
		"dayOfMonth": odata.Int32(), "daysOfWeek": odata.Enum("dayOfWeek", days...).Many(), "firstDayOfWeek": odata.Enum("dayOfWeek", days...),
		"index": odata.Enum("weekIndex", "first", "second", "third", "fourth", "last"), "interval": odata.Int32(), "month": odata.Int32(),
		"type": odata.Enum("recurrencePatternType", "daily", "weekly", "absoluteMonthly", "relativeMonthly", "absoluteYearly", "relativeYearly"),
	})
	limits := complexType("recurrenceRange", properties{
		"endDate": odata.Date(), "numberOfOccurrences": odata.Int32(), "recurrenceTimeZone": text, "startDate": odata.Date(),
		"type": odata.Enum("recurrenceRangeType", "endDate", "noEnd", "numbered"),
	})
	meeting := complexType("onlineMeetingInfo", properties{
		"conferenceId": text, "joinUrl": text, "quickDial": text, "tollFreeNumbers": text.Many(), "tollNumber": text,
		"phones": odata.Of(complexType("phone", properties{"language": text, "number": text, "region": text, "type": text})).Many(),
	})
	// Deep inserts name the derived type in @odata.type, which has more properties than these.
	attachment := complexType("attachment", properties{
		"id": text.Computed(), "name": text, "contentType": text, "isInline": boolean, "size": odata.Int32(), "lastModifiedDateTime": odata.DateTimeOffset().Computed(),
	})
	attachment.Open = true
	extension := complexType("extension", properties{"id": text, "extensionName": text})
	extension.Open = true
	calendar := complexType("calendar", nil)
	event := entityType("event", properties{
		"id": text.Computed(), "changeKey": text.Computed(), "createdDateTime": odata.DateTimeOffset().Computed(), "lastModifiedDateTime": odata.DateTimeOffset().Computed(),
		"categories": text.NotNull().Many(), "allowNewTimeProposals": boolean.NotNull(), "attendees": odata.Of(attendee).NotNull().Many(),
		"body":        odata.Of(complexType("itemBody", properties{"content": text, "contentType": odata.Enum("bodyType", "text", "html")})),
		"bodyPreview": text.Computed(), "cancelledOccurrences": text.Many().Computed(), "end": dateTime, "hasAttachments": boolean.Computed(), "hideAttendees": boolean.NotNull(),
		"iCalUId": text.Computed(), "importance": odata.Enum("importance", "low", "normal", "high").NotNull(), "isAllDay": boolean.NotNull(), "isCancelled": boolean.Computed(),
		"isDraft": boolean.Computed(), "isOnlineMeeting": boolean.NotNull(), "isOrganizer": boolean.Computed(), "isReminderOn": boolean.NotNull(),
		"location": odata.Of(location), "locations": odata.Of(location).NotNull().Many(), "occurrenceId": text.Computed(), "onlineMeeting": odata.Of(meeting).Computed(),
		"onlineMeetingProvider": odata.Enum("onlineMeetingProviderType", "unknown", "teamsForBusiness", "skypeForBusiness", "skypeForConsumer"),
		"onlineMeetingUrl":      text.Computed(), "organizer": odata.Of(recipient).Computed(), "originalEndTimeZone": text, "originalStart": odata.DateTimeOffset().Computed(),
		"originalStartTimeZone": text, "recurrence": odata.Of(complexType("patternedRecurrence", properties{"pattern": odata.Of(pattern), "range": odata.Of(limits)})),
		"reminderMinutesBeforeStart": odata.Int32(), "responseRequested": boolean.NotNull(), "responseStatus": odata.Of(response).Computed(),
		"sensitivity": odata.Enum("sensitivity", "normal", "personal", "private", "confidential").NotNull(), "seriesMasterId": text.Computed(),
		"showAs": odata.Enum("freeBusyStatus", "free", "tentative", "busy", "oof", "workingElsewhere", "unknown").NotNull(), "start": dateTime, "subject": text,
		"transactionId": text, "type": odata.Enum("eventType", "singleInstance", "occurrence", "exception", "seriesMaster").Computed(), "uid": text.Computed(), "webLink": text.Computed(),
		"attachments": odata.Of(attachment).NotNull().Many().Link(true), "extensions": odata.Of(extension).NotNull().Many().Link(true),
		"calendar":                      odata.Of(calendar).Computed().Link(false),
		"singleValueExtendedProperties": odata.Of(complexType("singleValueLegacyExtendedProperty", properties{"id": text.NotNull(), "value": text})).NotNull().Many().Link(true),
		"multiValueExtendedProperties":  odata.Of(complexType("multiValueLegacyExtendedProperty", properties{"id": text.NotNull(), "value": text.Many()})).NotNull().Many().Link(true),
	})
	legacy := func(value odata.Property) odata.Property {
		return odata.Of(complexType("legacyExtendedProperty", properties{"id": text, "value": value})).Many().Link(true)
	}
	return types{
		event: event,
		calendar: entityType("calendar", properties{
			"id": text.Computed(), "name": text, "color": text, "hexColor": text, "isDefaultCalendar": boolean, "changeKey": text, "canShare": boolean,
			"canViewPrivateItems": boolean, "canEdit": boolean, "allowedOnlineMeetingProviders": text.Many(), "defaultOnlineMeetingProvider": text,
			"isTallyingResponses": boolean, "isRemovable": boolean, "owner": odata.Of(email),
			"singleValueExtendedProperties": legacy(text), "multiValueExtendedProperties": legacy(text.Many()),
		}),
		mailboxSettings: newMailboxSettingsType(),
	}
}

func timeSlot() *odata.Type {
	dateTime := odata.Of(odata.DateTimeType())
	return complexType("timeSlot", properties{"start": dateTime, "end": dateTime})
}

func newMailboxSettingsType() *odata.Type {
	text, dateTime := odata.String(), odata.Of(odata.DateTimeType())
	replies := complexType("automaticRepliesSetting", properties{
		"externalAudience": odata.Enum("externalAudienceScope", "none", "contactsOnly", "all").NotNull(), "externalReplyMessage": text, "internalReplyMessage": text,
		"scheduledEndDateTime": dateTime, "scheduledStartDateTime": dateTime,
		"status": odata.Enum("automaticRepliesStatus", "disabled", "alwaysEnabled", "scheduled").NotNull(),
	})
	zone := complexType("timeZoneBase", properties{"name": text})
	zone.Open = true // customTimeZone has more
	days := odata.Enum("dayOfWeek", "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
	hours := complexType("workingHours", properties{"daysOfWeek": days.Many(), "startTime": text, "endTime": text, "timeZone": odata.Of(zone)})
	return entityType("mailboxSettings", properties{
		"archiveFolder": text.Computed(), "automaticRepliesSetting": odata.Of(replies).NotNull(), "dateFormat": text,
		"delegateMeetingMessageDeliveryOptions": odata.Enum("delegateMeetingMessageDeliveryOptions", "sendToDelegateAndInformationToPrincipal", "sendToDelegateAndPrincipal", "sendToDelegateOnly"),
		"language":                              odata.Of(complexType("localeInfo", properties{"displayName": text, "locale": text})), "timeFormat": text, "timeZone": text,
		"userPurpose": text.Computed(), "workingHours": odata.Of(hours),
	})
}
