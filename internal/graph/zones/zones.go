// Package zones translates between the time zones of Windows and those of IANA, as the Unicode CLDR does.
//
// Its tables are data of Unicode, Inc.; see LICENSE.
package zones

//go:generate go run generate.go windowsZones.json

// IANA is the IANA name of a Windows zone, "Europe/Berlin" for "W. Europe Standard Time"; empty if there is none.
func IANA(windows string) string { return toIANA[windows] }

// Windows is the Windows name of an IANA zone, "W. Europe Standard Time" for "Europe/Vienna"; empty if there is none. It
// knows CLDR's names, which are not always the newest: "Asia/Calcutta".
func Windows(iana string) string { return toWindows[iana] }
