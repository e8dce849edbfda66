package restapi

import (
	"slices"
	"strconv"
)

// PatchIntegration changes members of an integration.
func (a *API) PatchIntegration(resourceID, verb string, patches []Patch) error {
	const op = "restapi.PatchIntegration"
	i, err := a.Integration(resourceID, verb)
	if err != nil {
		return err
	}
	for _, p := range patches {
		if err := patchIntegration(op, i, p); err != nil {
			return err
		}
	}
	i.fillDefaults(resourceID)
	return checkIntegration(op, a.Resources[resourceID].Methods[verb], i)
}

func patchIntegration(op string, i *Integration, p Patch) error {
	segments, ok := p.segments()
	if !ok {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if len(segments) == 2 {
		switch segments[0] {
		case "requestParameters":
			return patchMap(op, &i.RequestParameters, p, segments[1], p.Value, notFound(op, "Invalid parameter name specified"))
		case "requestTemplates":
			return patchMap(op, &i.RequestTemplates, p, segments[1], p.Value, notFound(op, "Content-Type specified was not found"))
		case "cacheKeyParameters":
			return patchCacheKeys(op, i, p, segments[1])
		case "tlsConfig":
			return patchTLS(op, i, p, segments[1])
		}
	}
	if len(segments) != 1 {
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	if p.Op != OpReplace {
		return invalid(op, "Invalid patch operation specified. Must be one of: [replace]")
	}
	switch segments[0] {
	case "uri":
		i.URI = p.Value
	case "httpMethod":
		i.HTTPMethod = p.Value
	case "credentials":
		i.Credentials = p.Value
	case "passthroughBehavior":
		i.PassthroughBehavior = p.Value
	case "contentHandling":
		i.ContentHandling = p.Value
	case "cacheNamespace":
		i.CacheNamespace = p.Value
	case "timeoutInMillis":
		millis, err := strconv.Atoi(p.Value)
		if err != nil || millis == 0 { // 0 would read as not set
			return invalid(op, "Timeout should be between %d ms and %d ms", MinTimeoutMillis, i.maxTimeoutMillis())
		}
		i.TimeoutMillis = millis
	case "responseTransferMode":
		i.TransferMode = p.Value
	case "connectionType":
		if p.Value != Internet {
			return unsupported(op, "connectionType "+p.Value, "there are no VPC links; the connection is INTERNET")
		}
	case "connectionId":
		if p.Value != "" {
			return unsupported(op, "connectionId", "there are no VPC links")
		}
	default:
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	return nil
}

func patchCacheKeys(op string, i *Integration, p Patch, name string) error {
	at := slices.Index(i.CacheKeyParameters, name)
	switch {
	case p.Op == OpAdd && at < 0:
		i.CacheKeyParameters = append(i.CacheKeyParameters, name)
	case p.Op == OpAdd:
	case p.Op == OpRemove && at >= 0:
		i.CacheKeyParameters = slices.Delete(i.CacheKeyParameters, at, at+1)
	case p.Op == OpRemove:
		return notFound(op, "Invalid parameter name specified")
	default:
		return invalid(op, "Invalid patch path %s", p.Path)
	}
	return nil
}
