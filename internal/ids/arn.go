package ids

import "strings"

// Account is where a node says that its resources live: partition, region, account.
type Account struct {
	Partition string // "aws"
	Region    string // "us-east-1"
	ID        string // "000000000000", 12 digits
}

// NewAccount gives the account of a region, in the region's partition.
func NewAccount(region, id string) Account {
	partition := "aws"
	switch {
	case strings.HasPrefix(region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		partition = "aws-us-gov"
	}
	return Account{partition, region, id}
}

// Stream names a Kinesis data stream: arn:aws:kinesis:us-east-1:000000000000:stream/class-stream
func (a Account) Stream(name string) string { return a.arn("kinesis", "stream/"+name) }

// DeliveryStream names a Firehose delivery stream.
func (a Account) DeliveryStream(name string) string {
	return a.arn("firehose", "deliverystream/"+name)
}

// Bucket names an S3 bucket; such ARNs hold neither region nor account.
func (a Account) Bucket(name string) string { return "arn:" + a.Partition + ":s3:::" + name }

// Role names an IAM role.
func (a Account) Role(pathAndName string) string {
	return "arn:" + a.Partition + ":iam::" + a.ID + ":role/" + strings.TrimPrefix(pathAndName, "/")
}

// LogGroup names a CloudWatch Logs group.
func (a Account) LogGroup(name string) string { return a.arn("logs", "log-group:"+name) }

// RestAPI names a REST API for the control plane; its account field is empty, as the service has it.
func (a Account) RestAPI(id string) string {
	return "arn:" + a.Partition + ":apigateway:" + a.Region + "::/restapis/" + id
}

func (a Account) arn(service, resource string) string {
	return "arn:" + a.Partition + ":" + service + ":" + a.Region + ":" + a.ID + ":" + resource
}

// ARN is a split ARN; Resource keeps its own slashes and colons.
type ARN struct{ Partition, Service, Region, Account, Resource string }

// ParseARN splits an ARN, or reports that s is none.
func ParseARN(s string) (ARN, bool) {
	p := strings.SplitN(s, ":", 6)
	if len(p) != 6 || p[0] != "arn" || p[1] == "" || p[2] == "" || p[5] == "" {
		return ARN{}, false
	}
	return ARN{p[1], p[2], p[3], p[4], p[5]}, true
}
