package load

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
)

// Events makes n events of about 300 bytes that differ as those of a mobile app's users do, each a line of JSON: compressors
// and dictionaries find in them what they find in real ones. The member "tenant" has one of so many values, evenly. The same
// arguments give the same events.
func Events(n, tenants int) [][]byte {
	random := rand.New(rand.NewPCG(7, 11))
	all := make([][]byte, n)
	for i := range all {
		all[i] = fmt.Appendf(nil, `{"tenant":"t%03d","event_name":"af_purchase","event_time":"2026-11-23 %02d:%02d:%02d.%03d","appsflyer_id":"%08x-%04x-4%03x-8%03x-%012x",`+
			`"customer_user_id":%d,"platform":"%s","app_version":"4.%d.0","country_code":"%c%c","event_value":{"af_revenue":%d.%02d,`+
			`"af_currency":"USD"},"ip":"10.%d.%d.%d"}`+"\n",
			random.IntN(tenants), i/3600%24, i/60%60, i%60, i%1000, random.Uint32(), random.IntN(1<<16), random.IntN(1<<12), random.IntN(1<<12), random.Int64N(1<<48),
			random.IntN(1e7), []string{"ios", "android"}[random.IntN(2)], random.IntN(20), 'A'+random.IntN(26), 'A'+random.IntN(26),
			random.IntN(500), random.IntN(100), random.IntN(256), random.IntN(256), random.IntN(256))
	}
	return all
}

// EventColumns are the columns of a table that holds Events, names and Hive types.
var EventColumns = [][2]string{
	{"tenant", "string"}, {"event_name", "string"}, {"event_time", "timestamp"}, {"appsflyer_id", "string"}, {"customer_user_id", "bigint"},
	{"platform", "string"}, {"app_version", "string"}, {"country_code", "string"},
	{"event_value", "struct<af_revenue:decimal(10,2),af_currency:string>"}, {"ip", "string"},
}

// PutEvents builds the body of a PutRecords with given events, in JSON. Their keys spread them over all shards.
func PutEvents(stream string, events [][]byte) []byte {
	b := fmt.Appendf(nil, `{"StreamName":%q,"Records":[`, stream)
	for i, e := range events {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"Data":"`...)
		b = base64.StdEncoding.AppendEncode(b, e)
		b = fmt.Appendf(b, `","PartitionKey":"k-%d"}`, i)
	}
	return append(b, "]}"...)
}
