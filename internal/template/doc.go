// Package template reads definition files and makes a node what they say:
// CloudFormation in YAML or JSON with the resource types of an event pipeline, SAM's
// AWS::Serverless::Api, and plain OpenAPI 3 and Swagger 2.
//
//	Load ── parse with positions, parameters, conditions; every problem of the file at once
//	  └ Plan ── functions evaluated, compared with what there is; nothing is changed yet
//	      └ Apply ── streams, buckets, delivery streams, APIs, then what has left the file
//
// What is not understood is refused with file, line, resource and property; nothing
// is passed over in silence. types.go holds the table of what each resource type
// takes, which is what `millrace support` prints.
//
// A file belongs to a stack, by name. The stack's record in the catalog says which
// resource of the file is what on the node, so that names that were made up stay the
// same and a second run changes in place and keeps all data. It is written before
// anything is made: a run that was cut is taken up by the next one.
package template
