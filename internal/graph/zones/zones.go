// Package zones translates between the time zones of Windows and those of IANA, as the Unicode CLDR does.
//
// Its tables are data of Unicode, Inc., see LICENSE, and of the tz database, which is in the public domain. generate.go writes them.
package zones

// To regenerate tables.go, run go run generate.go windowsZones.json tzdata.zi. It is no go:generate directive because the files are
// not here.

// IANA returns the IANA name of a Windows zone, "Europe/Berlin" for "W. Europe Standard Time"; "" if there is none.
func IANA(windows string) string { return toIANA[windows] }

// Windows returns the Windows name of an IANA zone, "W. Europe Standard Time" for "Europe/Vienna"; "" if there is none. It follows
// the links of the tz database: "GB" is "Europe/London".
func Windows(iana string) string {
	for _, name := range []string{iana, renamed[iana], links[iana], renamed[links[iana]], legacy[iana]} {
		if windows := toWindows[name]; windows != "" {
			return windows
		}
	}
	return ""
}

// legacy maps the names of Unix's oldest zones, which the tz database has as links since 2024b and Debian still as zones.
var legacy = map[string]string{
	"CET":     "Europe/Brussels",
	"CST6CDT": "America/Chicago",
	"EET":     "Europe/Athens",
	"EST":     "America/Panama",
	"EST5EDT": "America/New_York",
	"HST":     "Pacific/Honolulu",
	"MET":     "Europe/Brussels",
	"MST":     "America/Phoenix",
	"MST7MDT": "America/Denver",
	"PST8PDT": "America/Los_Angeles",
	"WET":     "Europe/Lisbon",
}

// renamed maps the names that IANA has changed to those that CLDR keeps for ever.
var renamed = map[string]string{
	"Africa/Asmara":                  "Africa/Asmera",
	"America/Argentina/Buenos_Aires": "America/Buenos_Aires",
	"America/Argentina/Catamarca":    "America/Catamarca",
	"America/Argentina/Cordoba":      "America/Cordoba",
	"America/Argentina/Jujuy":        "America/Jujuy",
	"America/Argentina/Mendoza":      "America/Mendoza",
	"America/Atikokan":               "America/Coral_Harbour",
	"America/Indiana/Indianapolis":   "America/Indianapolis",
	"America/Kentucky/Louisville":    "America/Louisville",
	"America/Nuuk":                   "America/Godthab",
	"Asia/Ho_Chi_Minh":               "Asia/Saigon",
	"Asia/Kathmandu":                 "Asia/Katmandu",
	"Asia/Kolkata":                   "Asia/Calcutta",
	"Asia/Yangon":                    "Asia/Rangoon",
	"Atlantic/Faroe":                 "Atlantic/Faeroe",
	"Europe/Kyiv":                    "Europe/Kiev",
	"Pacific/Chuuk":                  "Pacific/Truk",
	"Pacific/Kanton":                 "Pacific/Enderbury",
	"Pacific/Pohnpei":                "Pacific/Ponape",
}
