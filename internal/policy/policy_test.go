package policy

import (
	"strings"
	"testing"
)

const method = "arn:aws:execute-api:us-east-1:000000000000:abcdefghij/prod/GET/v1/orders"

var scope = Scope{"aws", "us-east-1", "000000000000", "abcdefghij"}

func answer(statements string) []byte {
	return []byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
}

func allow(resource string) string {
	return `{"Effect":"Allow","Action":"execute-api:Invoke","Resource":"` + resource + `"}`
}

func deny(resource string) string { return strings.Replace(allow(resource), "Allow", "Deny", 1) }

func TestAnAnswerSaysWhatACallerMayInvoke(t *testing.T) {
	f := func(statements, arn string, want Effect) {
		t.Helper()
		p, err := ParseAnswer(answer(statements))
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Evaluate(Invocation{ARN: arn, SourceIP: "192.0.2.7"}); got != want {
			t.Errorf("%s of %s: %d, want %d", statements, arn, got, want)
		}
	}
	f(allow(method), method, Allowed)
	f(allow("*"), method, Allowed)
	f(deny("*"), method, Denied)
	f(allow("arn:aws:execute-api"), method, Allowed)
	f(allow("arn:aws:execute-api:*"), method, Allowed)
	f(allow("arn:aws:execute-api:*:*:*"), method, Allowed)
	f(allow("arn:aws:execute-api:us-east-1:*:abcdefghij/*/GET/*"), method, Allowed)
	f(allow("arn:aws:execute-api:us-east-1:*:abcdefghij/*/POST/*"), method, Silent)
	f(allow("arn:aws:execute-api:us-east-1:000000000000:abcdefghij/prod/GET/v?/orders"), method, Allowed)
	f(allow("arn:aws:execute-api:us-east-1:000000000000:abcdefghij/prod/GET/v1/order"), method, Silent)
	f(allow("arn:aws:execute-api:us-west-2:*:*"), method, Silent)
	f(allow("*")+","+deny("arn:aws:execute-api:*:*:*/GET/v1/*"), method, Denied)
	f(deny("arn:aws:execute-api:*:*:*/GET/v1/*")+","+allow("*"), method, Denied)
	f(deny("arn:aws:execute-api:*:*:*/GET/v2/*")+","+allow("*"), method, Allowed)
	f(`{"Effect":"Allow","Action":["execute-api:ManageConnections","EXECUTE-API:inv*"],"Resource":["*"]}`, method, Allowed)
	f(`{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}`, method, Silent)
	f(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`, method, Allowed)
	f(`{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"198.51.100.1"}}}`, method, Silent)
	// A star in the account does not reach into a path of the caller's choice.
	f(allow("arn:aws:execute-api:us-east-1:*:abcdefghij/prod/GET/public/*"),
		"arn:aws:execute-api:us-east-1:000000000000:abcdefghij/prod/GET/secret/:abcdefghij/prod/GET/public/x", Silent)
}

func resourcePolicy(effect, resource, rest string) string {
	return `{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":"*","Action":"execute-api:Invoke","Resource":"` +
		resource + `"` + rest + `}]}`
}

func TestAResourcePolicyTellsNetworksApart(t *testing.T) {
	f := func(text, source string, want Effect) {
		t.Helper()
		p, err := ParseResource(text, scope)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Evaluate(Invocation{ARN: method, SourceIP: source}); got != want {
			t.Errorf("%s from %q: %d, want %d", text, source, got, want)
		}
	}
	in := `,"Condition":{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","2001:db8::/32"]}}`
	out := `,"Condition":{"NotIpAddress":{"AWS:sourceip":["192.0.2.0/24"]}}`
	f(resourcePolicy("Allow", "execute-api:/*", in), "192.0.2.9", Allowed)
	f(resourcePolicy("Allow", "execute-api:/*", in), "::ffff:192.0.2.9", Allowed)
	f(resourcePolicy("Allow", "execute-api:/*", in), "2001:db8::1", Allowed)
	f(resourcePolicy("Allow", "execute-api:/*", in), "203.0.113.1", Silent)
	f(resourcePolicy("Allow", "execute-api:/*", in), "", Silent)
	f(resourcePolicy("Deny", "execute-api:/*", out), "192.0.2.9", Silent)
	f(resourcePolicy("Deny", "execute-api:/*", out), "203.0.113.1", Denied)
	f(resourcePolicy("Deny", "execute-api:/*", out), "nonsense", Denied)
	mapped := `,"Condition":{"IpAddress":{"aws:SourceIp":"::ffff:192.0.2.0/120"}}`
	f(resourcePolicy("Deny", "execute-api:/*", mapped), "192.0.2.9", Denied)
	f(resourcePolicy("Deny", "execute-api:/*", mapped), "192.0.3.9", Silent)
	f(resourcePolicy("Deny", "execute-api:/*", `,"Condition":{"IpAddress":{"aws:SourceIp":"::ffff:0:0/96"}}`), "203.0.113.1", Denied)
	f(resourcePolicy("Deny", "execute-api:/*", `,"Condition":{"IpAddress":{"aws:SourceIp":"::/0"}}`), "2001:db8::1", Denied)
	f(resourcePolicy("Allow", "execute-api:/prod/GET/v1/*", ""), "203.0.113.1", Allowed)
	f(resourcePolicy("Allow", "execute-api:/test/*", ""), "203.0.113.1", Silent)
}

// What is not evaluated must not look as if it were.
func TestWhatIsNotEvaluatedIsRefusedByName(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := ParseResource(text, scope); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	f(``, "well-formed")
	f(`[]`, "is no JSON object")
	f(`{}`, "Statement: is required")
	f(`{"Statement":[]}`, "there are 0 statements")
	f(`{"Statement":[]} x`, "follows")
	f(`{"Statement":[],"Statement":[]}`, `holds "Statement" twice`)
	f(`{"statement":[]}`, "statement is no element")
	f(`{"Version":"2025-01-01","Statement":[]}`, "Version: 2025-01-01")
	f(`{"Statement":"x"}`, "Statement[0]: is no JSON object")
	f(strings.Replace(resourcePolicy("Allow", "*", ""), `"Principal":"*",`, "", 1), "Statement[0].Principal: is required")
	f(strings.Replace(resourcePolicy("Allow", "*", ""), `"Principal":"*"`, `"Principal":{"AWS":"arn:aws:iam::000000000000:root"}`, 1), `principals other than "*"`)
	f(strings.Replace(resourcePolicy("Allow", "*", ""), `"Principal"`, `"NotPrincipal"`, 1), "NotPrincipal: is not supported")
	f(strings.Replace(resourcePolicy("Allow", "*", ""), `"Action"`, `"NotAction"`, 1), "NotAction: is not supported")
	f(strings.Replace(resourcePolicy("Allow", "*", ""), `"Resource"`, `"NotResource"`, 1), "NotResource: is not supported")
	f(resourcePolicy("allow", "*", ""), "Effect: is Allow or Deny")
	f(resourcePolicy("Allow", "somewhere", ""), `"somewhere" is no ARN`)
	f(resourcePolicy("Allow", "arn:aws:execute-api:*:*:${aws:username}/*", ""), "the variable in")
	f(strings.Replace(resourcePolicy("Allow", "*", ""), "execute-api:Invoke", "execute-api:InvalidateCache", 1), "is not evaluated")
	f(resourcePolicy("Allow", "*", `,"Condition":{"StringEquals":{"aws:SourceVpce":"vpce-1"}}`), "the operator StringEquals")
	f(resourcePolicy("Allow", "*", `,"Condition":{"IpAddress":{"aws:VpcSourceIp":"10.0.0.0/8"}}`), "the key aws:VpcSourceIp")
	f(resourcePolicy("Allow", "*", `,"Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/99"}}`), `"10.0.0.0/99" is neither`)
	f(resourcePolicy("Allow", "*", `,"Condition":{"IpAddress":{"aws:SourceIp":[]}}`), "at least one")
	f(resourcePolicy("Allow", "*", `,"Condition":"x"`), "Condition: is a JSON object")
	f(resourcePolicy("Allow", strings.Repeat("x", MaxResourceBytes), ""), "at most 8192")
	f(strings.Repeat("[", 100), "nested too deep")
	if _, err := ParseAnswer(answer(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}`)); err == nil {
		t.Error("an answer with a Principal was taken")
	}
	many := make([]string, maxStatements+1)
	for i := range many {
		many[i] = allow("*")
	}
	if _, err := ParseAnswer(answer(strings.Join(many, ","))); err == nil || !strings.Contains(err.Error(), "257 statements") {
		t.Errorf("%v", err)
	}
}

// naive matches by trying all there is; it is what match is compared with.
func naive(pattern, s string) bool {
	switch {
	case pattern == "":
		return s == ""
	case pattern[0] == '*':
		return naive(pattern[1:], s) || s != "" && naive(pattern, s[1:])
	}
	return s != "" && (pattern[0] == '?' || pattern[0] == s[0]) && naive(pattern[1:], s[1:])
}

func FuzzMatchAgreesWithTheNaiveOne(f *testing.F) {
	f.Add("a*b?c*", "axxbyc")
	f.Add("**", "")
	f.Add("?", "é")
	f.Add("*ab*ab", "abab")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		if len(pattern) > 12 || len(s) > 16 {
			return // the naive one is exponential
		}
		if got, want := compileGlob(pattern).match(s), naive(pattern, s); got != want {
			t.Errorf("%q of %q: %v, want %v", pattern, s, got, want)
		}
	})
}

func FuzzPoliciesAreReadOrRefused(f *testing.F) {
	f.Add(string(answer(allow("*"))), method, "192.0.2.1")
	f.Add(resourcePolicy("Deny", "execute-api:/*", `,"Condition":{"NotIpAddress":{"aws:SourceIp":["192.0.2.0/24"]}}`), method, "::1")
	f.Fuzz(func(t *testing.T, text, arn, source string) {
		in := Invocation{arn, source}
		if p, err := ParseAnswer([]byte(text)); err == nil && len(p.statements) == 0 && p.Evaluate(in) == Allowed {
			t.Error("a policy without statements allows")
		}
		p, err := ParseResource(text, scope)
		if err != nil {
			return
		}
		got := p.Evaluate(in)
		// A denial of everything wins over whatever there is, wherever it stands.
		everything := statement{deny: true, resources: []arnPattern{{any: true}}}
		for at := range len(p.statements) + 1 {
			with := &Policy{append(append(append([]statement{}, p.statements[:at]...), everything), p.statements[at:]...)}
			if with.Evaluate(in) != Denied {
				t.Errorf("%s with a denial of everything: %d, without %d", text, with.Evaluate(in), got)
			}
		}
	})
}

// The work of a hostile pattern on a hostile path is bounded.
func BenchmarkHostile(b *testing.B) {
	pattern := "arn:aws:execute-api:*:*:" + strings.Repeat("*a?", 500)
	p, err := ParseAnswer(answer(allow(pattern)))
	if err != nil {
		b.Fatal(err)
	}
	in := Invocation{ARN: "arn:aws:execute-api:us-east-1:000000000000:" + strings.Repeat("a", 10000), SourceIP: "192.0.2.1"}
	for b.Loop() {
		p.Evaluate(in)
	}
}
