package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"

	"millrace/internal/gateway/mapping"
	"millrace/internal/restapi"
)

// AuthorizerTest is a request that an authorizer is tried with.
type AuthorizerTest struct {
	Header         Header
	Path           string // with its query
	StageVariables map[string]string
}

// AuthorizerResult is what became of a test.
type AuthorizerResult struct {
	Status    int    // that a caller whom nothing is said against gets of the authorizer
	Log       string // in the service's words
	Principal string
	Policy    string // as the authorizer answered it
	Latency   time.Duration
}

// TestAuthorizer calls an authorizer of an API's working copy, whether or not it is deployed, and keeps nothing of it.
// why is not empty when the node can't call the authorizer.
func (g *Gateway) TestAuthorizer(ctx context.Context, a *restapi.API, id string, test AuthorizerTest) (res AuthorizerResult, why string) {
	src := a.Authorizers[id]
	if why := g.Gate.Refuses(&a.Definition, &restapi.Method{AuthorizationType: restapi.Custom, AuthorizerID: id}); why != "" {
		return res, why
	}
	z, err := compileAuthorizer(src)
	if err != nil {
		return res, err.Error()
	}
	path, query, _ := strings.Cut(test.Path, "?")
	if path == "" {
		path = "/"
	}
	x := &exchange{
		api: &api{id: a.ID, name: a.Name}, stage: &stage{name: testStage},
		method: &method{resourceID: a.RootResourceID, resourcePath: "/", verb: "GET"},
	}
	for _, name := range slices.Sorted(maps.Keys(test.StageVariables)) {
		x.stage.variables = append(x.stage.variables, mapping.Param{Name: name, Value: test.StageVariables[name]})
	}
	x.begin(g, &Request{Method: "GET", RawPath: path, RawQuery: query, Header: test.Header, Host: a.ID + ".execute-api." + g.Account.Region + ".amazonaws.com",
		RemoteIP: "127.0.0.1", Received: g.Now()}, &Response{})
	x.arrive(target{api: x.api, stage: x.stage, path: path, full: "/" + testStage + path})
	x.tryAuthorizer(ctx, z, path, &res)
	return res, ""
}

func (x *exchange) tryAuthorizer(ctx context.Context, z *authorizer, path string, res *AuthorizerResult) {
	var log strings.Builder
	say := func(text string) {
		log.WriteString(x.g.Now().UTC().Format("Mon Jan 02 15:04:05 MST 2006") + " : " + text + "\n")
	}
	log.WriteString("Execution log for request " + x.requestID + "\n")
	say("Starting authorizer: " + z.id)
	defer func() { res.Log = log.String() }()
	identity, ok := x.identity(z)
	if !ok {
		say("Unauthorized request: " + x.requestID)
		res.Status = errUnauthorized.status
		return
	}
	for _, v := range identity {
		say("Incoming identity: " + starred(v))
	}
	event, err := x.event(z, x.methodARN(path), identity)
	if err != nil {
		say(err.Error())
		res.Status = errAuthorizerConfiguration.status
		return
	}
	began := x.g.Now()
	limited := withTimeout(ctx, authorizerTimeout)
	answer, err := x.g.Gatekeeper.Ask(limited, z.function, event)
	limited.release()
	res.Latency = x.g.Now().Sub(began)
	if err != nil {
		say("Execution failed due to an authorizer error: " + err.Error())
		res.Status = errAuthorizerFailure.status
		return
	}
	say("Authorizer result body before parsing: " + string(answer))
	d, f, why := readAnswer(answer)
	if f != nil {
		say(why)
		res.Status = f.status
		return
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(answer, &members) // readAnswer has
	res.Status, res.Principal, res.Policy = 200, d.principal, string(members["policyDocument"])
	say("Using valid authorizer policy for principal: " + starred(d.principal))
	say("Successfully completed authorizer execution")
}
