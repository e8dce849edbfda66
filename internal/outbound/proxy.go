package outbound

import "net/http"

// FromEnvironment gives options that call by the proxy which HTTPS_PROXY, HTTP_PROXY and NO_PROXY name. Loopback addresses
// are called directly, whatever these say.
func (o Options) FromEnvironment() Options {
	o.Proxy = http.ProxyFromEnvironment
	return o
}
