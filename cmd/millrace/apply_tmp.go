package main

import (
	"context"
	"errors"

	"millrace/internal/app"
)

func (o *upOptions) definition() (any, error) { return nil, nil }
func (o *upOptions) apply(ctx context.Context, e *env, n *app.Node, d any) error { return nil }
func joinStop(err error, n *app.Node) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return errors.Join(err, n.Run(ctx))
}
