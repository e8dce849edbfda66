package main

import (
	"context"
)

var vtlCommand = &command{name: "vtl", args: "render|lint|test ...", summary: "render, check and test mapping templates", run: func(_ context.Context, e *env, args []string) error { return nil }}
