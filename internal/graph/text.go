package graph

import "github.com/microsoftgraph/msgraph-sdk-go/models"

// ItemBody returns a text or HTML as it is written to Graph.
func ItemBody(content string, html bool) models.ItemBodyable {
	body, kind := models.NewItemBody(), models.TEXT_BODYTYPE
	if html {
		kind = models.HTML_BODYTYPE
	}
	body.SetContentType(&kind)
	body.SetContent(&content)
	return body
}
