package apigateway

import (
	"context"

	wire "millrace/internal/awsmodel/apigatewaywire"
	"millrace/internal/catalog"
	"millrace/internal/restapi"
)

func (s *Service) getAccount(context.Context, *wire.GetAccountRequest) (*wire.Account, error) {
	account, err := apis.Account(s.Catalog.Snapshot())
	if err != nil {
		return nil, err
	}
	return accountView(account), nil
}

func (s *Service) updateAccount(ctx context.Context, in *wire.UpdateAccountRequest) (out *wire.Account, err error) {
	err = s.Catalog.Update(ctx, func(tx *catalog.Tx) error {
		account, err := apis.Account(tx)
		if err != nil {
			return err
		}
		if err := account.Patch(patches(in.PatchOperations)); err != nil {
			return err
		}
		out = accountView(account)
		return apis.PutAccount(tx, account)
	})
	return out, err
}

// apiKeyVersion is what every account has had since usage plans exist.
const apiKeyVersion = "4"

func accountView(a restapi.Account) *wire.Account {
	burst, rate, version := restapi.DefaultThrottlingBurst, restapi.DefaultThrottlingRate, apiKeyVersion
	return &wire.Account{
		CloudwatchRoleArn: text(a.CloudWatchRoleARN),
		ThrottleSettings:  &wire.ThrottleSettings{BurstLimit: &burst, RateLimit: &rate},
		Features:          []string{"UsagePlans"},
		ApiKeyVersion:     &version,
	}
}
