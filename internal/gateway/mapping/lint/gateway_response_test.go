package lint

import (
	"fmt"
	"strings"
	"testing"
)

func TestGatewayResponses(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		var got []string
		for _, f := range GatewayResponse(text) {
			got = append(got, fmt.Sprintf("%d:%d %s", f.Line, f.Column, strings.TrimSuffix(f.Message, " is not evaluated in a gateway response: callers see it as it is written")))
		}
		if strings.Join(got, "; ") != strings.Join(want, "; ") {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	f(`{"message":$context.error.messageString,"price":"$5","h":"$method.request.header.X","v":"${stageVariables.k}"}`)
	f("{\n#set($a = 1)\"x\": \"$util.escapeJavaScript('y')\"}", "2:1 a directive", "2:19 $util")
	f(`$!context.requestId $input.body #if($context.stage)x#end`, "1:1 $!context.requestId", "1:21 $input", "1:33 a directive")
	f(`$context.error.message.replace("a", "b")`, `1:1 a method of $context.error.message.replace("a", "b")`)
	f(`#if(`)
}
