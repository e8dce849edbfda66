package app

import "millrace/internal/api/apigateway"

var importOpenAPI apigateway.Importer
