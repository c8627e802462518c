package directory

// The sample tenant.
const (
	ContosoTenant = "5f1c8f0e-6a3e-4c52-9c1a-0d6c3f2f9a10"
	Adele         = "adele@contoso.example"
	Megan         = "megan@contoso.example"
	Alex          = "alex@contoso.example"
	Ann           = "ann@outlook.example"       // a personal account
	Marketing     = "marketing@contoso.example" // a group
)

// AddContoso adds Adele, and with colleagues Megan, Alex and Ann.
func (d *Directory) AddContoso(colleagues bool) {
	d.Add(User{ID: "87d349ed-44d7-43e1-9a83-5f2406dee5bd", Address: Adele, Name: "Adele Vance", Tenant: ContosoTenant, TimeZone: "W. Europe Standard Time"})
	if colleagues {
		d.Add(User{Address: Megan, Name: "Megan Bowen", Tenant: ContosoTenant, TimeZone: "Pacific Standard Time",
			JobTitle: "Marketing Manager", Department: "Marketing", Manager: Adele, Photo: []byte("\xff\xd8\xff\xe0 a photo")})
		d.Add(User{Address: Alex, Name: "Alex Wilber", Tenant: ContosoTenant, TimeZone: "GMT Standard Time"})
		d.Add(User{Address: Ann, Name: "Ann Example", Personal: true, TimeZone: "W. Europe Standard Time"})
	}
}
