package httpendpoint

import "millrace/internal/awswire"

// bodyFault tells what an answer lacks that says 200; empty: nothing. A member that the specification does not name is a
// fault: so says the service, and so an endpoint that was never meant for it is not taken for one.
func bodyFault(text []byte, requestID string) string {
	const noJSON = "is not recognized as valid JSON or has unexpected fields"
	var d awswire.JSON
	d.Borrow = true // nothing of it is kept
	d.Reset(text)
	if d.Peek() != '{' {
		return noJSON
	}
	id, hasID, timestamp, odd := "", false, false, false
	for d.Object(); d.Member(); {
		first := d.Peek()
		isText, isNumber := first == '"', first == '-' || '0' <= first && first <= '9'
		switch key := string(d.Key()); {
		case key == "requestId" && isText:
			id, hasID = d.String(), true
		case key == "timestamp" && isNumber:
			timestamp = true
			d.Skip()
		case key == "timestamp":
			timestamp = false
			d.Skip()
		case key == "errorMessage" && isText:
			d.Skip()
		default:
			odd = true
			d.Skip()
		}
	}
	switch {
	case d.Close() != nil || odd:
		return noJSON
	case !hasID:
		return "does not contain a requestId"
	case id != requestID:
		return "has another requestId than the request"
	case !timestamp:
		return "does not contain a timestamp that is a number"
	}
	return ""
}
