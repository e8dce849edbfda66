package kinesis

import (
	"encoding/json"

	"millrace/internal/awsmodel/kinesiswire"
	"millrace/internal/stream"
)

const policyNote = "policies are stored and shown, not evaluated: who may call is decided by the listener's credentials"

// putResourcePolicy sets the policy of a stream or of a registered consumer.
//
// Source: Kinesis Data Streams API Reference, PutResourcePolicy.
var putResourcePolicy = operation{name: "PutResourcePolicy", note: policyNote, run: func(s *Service, c *call) error {
	var in kinesiswire.PutResourcePolicyInput
	if err := c.decode(&in); err != nil {
		return err
	}
	if err := checkPolicy(in.Policy); err != nil {
		return err
	}
	return s.changePolicy(c, in.ResourceARN, func(policy *string) error {
		*policy = in.Policy
		return nil
	})
}}

// getResourcePolicy gives the policy of a stream or a consumer; none is an empty object.
//
// Source: Kinesis Data Streams API Reference, GetResourcePolicy.
var getResourcePolicy = operation{name: "GetResourcePolicy", run: func(s *Service, c *call) error {
	var in kinesiswire.GetResourcePolicyInput
	if err := c.decode(&in); err != nil {
		return err
	}
	st, consumer, err := s.resource(in.ResourceARN)
	if err != nil {
		return err
	}
	out := kinesiswire.GetResourcePolicyOutput{Policy: st.Policy}
	if consumer != nil {
		out.Policy = consumer.Policy
	}
	if out.Policy == "" {
		out.Policy = "{}"
	}
	c.reply(&out)
	return nil
}}

// deleteResourcePolicy removes the policy of a stream or a consumer; one that is not there is an error.
//
// Source: Kinesis Data Streams API Reference, DeleteResourcePolicy.
var deleteResourcePolicy = operation{name: "DeleteResourcePolicy", run: func(s *Service, c *call) error {
	var in kinesiswire.DeleteResourcePolicyInput
	if err := c.decode(&in); err != nil {
		return err
	}
	return s.changePolicy(c, in.ResourceARN, func(policy *string) error {
		if *policy == "" {
			return failure(kinesiswire.ErrResourceNotFound, "No resource policy found for resource %s.", in.ResourceARN)
		}
		*policy = ""
		return nil
	})
}}

func (s *Service) changePolicy(c *call, arn string, change func(policy *string) error) error {
	return s.changeResource(c, arn, func(st *stream.Stream, set *stream.Settings, consumer *stream.Consumer) error {
		if consumer != nil {
			return change(&consumer.Policy)
		}
		return change(&set.Policy)
	})
}

// checkPolicy refuses what is no policy: an object with at least one statement that says who, what and whether.
func checkPolicy(text string) error {
	type statement struct{ Effect, Principal, Action, Resource json.RawMessage }
	var policy struct{ Statement json.RawMessage }
	wrong := func(why string) error {
		return failure(kinesiswire.ErrInvalidArgument, "The resource policy is not valid: %s.", why)
	}
	if len(text) > maxPolicyBytes {
		return failure(kinesiswire.ErrLimitExceeded, "The resource policy has %d bytes; at most %d.", len(text), maxPolicyBytes)
	}
	if json.Unmarshal([]byte(text), &policy) != nil {
		return wrong("it is no JSON object")
	}
	var all []statement
	if json.Unmarshal(policy.Statement, &all) != nil {
		var one statement
		if json.Unmarshal(policy.Statement, &one) != nil {
			return wrong("it has no Statement")
		}
		all = []statement{one}
	}
	if len(all) == 0 {
		return wrong("its Statement is empty")
	}
	for _, st := range all {
		var effect string
		if json.Unmarshal(st.Effect, &effect) != nil || effect != "Allow" && effect != "Deny" {
			return wrong("the Effect of a statement is Allow or Deny")
		}
		if st.Principal == nil || st.Action == nil {
			return wrong("a statement needs a Principal and an Action")
		}
	}
	return nil
}
