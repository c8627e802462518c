// Package zones translates between the time zones of Windows and those of IANA, as the Unicode CLDR does.
//
// Its tables are data of Unicode, Inc.; see LICENSE.
package zones

// To regenerate tables.go, run go run generate.go windowsZones.json. It is no go:generate directive because the file is not here.

// IANA is the IANA name of a Windows zone, "Europe/Berlin" for "W. Europe Standard Time"; empty if there is none.
func IANA(windows string) string { return toIANA[windows] }

// Windows is the Windows name of an IANA zone, "W. Europe Standard Time" for "Europe/Vienna"; empty if there is none.
func Windows(iana string) string {
	if old, ok := renamed[iana]; ok {
		iana = old
	}
	return toWindows[iana]
}

// renamed are the names that IANA has changed while CLDR, whose names are for ever, has not.
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
