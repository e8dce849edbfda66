package apigateway

// Served counts the operations of the table.
func Served() int { return len(operations) }
