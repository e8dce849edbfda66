package apigateway

import (
	"context"

	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

var apis catalog.APIs

// read gives an API as it is now; missing is the answer when there is none.
func (s *Service) read(id string, missing error) (*restapi.API, error) {
	api, ok, err := apis.Get(s.Catalog.Snapshot(), id)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, missing
	}
	return api, nil
}

// edit changes an API: all of what change does is durable and visible when edit returns nil, else none of it.
func (s *Service) edit(ctx context.Context, id string, missing error, change func(*restapi.API) error) error {
	return s.editIn(ctx, id, missing, func(_ *catalog.Tx, api *restapi.API) error { return change(api) })
}

// editIn is edit for a change that looks at other documents too.
func (s *Service) editIn(ctx context.Context, id string, missing error, change func(*catalog.Tx, *restapi.API) error) error {
	return s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		api, ok, err := apis.Get(tx, id)
		if err != nil {
			return err
		}
		if !ok {
			return missing
		}
		if err := change(tx, api); err != nil {
			return err
		}
		return apis.Put(tx, api)
	})
}

// noAPI is the answer of most calls on an unknown API; resources and what hangs on them say errNoSuchResource.
func (s *Service) noAPI(id string) error { return noSuchAPI(s.Account.ID, id) }
