package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"millrace/examples"
	"millrace/internal/app"
	"millrace/internal/ids"
	"millrace/internal/template"
	"millrace/internal/yamldoc"
)

// exampleStack is the name that the built-in example's resources belong to.
const exampleStack = "example"

// definition reads the file, or the built-in example; nil: neither is wanted.
func (o *upOptions) definition() (*template.Template, error) {
	if o.noExample {
		return nil, nil
	}
	options := template.Options{
		Parameters: map[string]string{}, Stack: o.stack, Stage: o.stage, Account: ids.NewAccount(o.node.Region, o.node.Account),
	}
	for _, p := range o.parameters {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--parameter %s: it is NAME=VALUE", p)
		}
		options.Parameters[name] = value
	}
	if o.file == "" {
		if options.Stack == "" {
			options.Stack = exampleStack
		}
		body, err := examples.Files.ReadFile(examples.Reference)
		if err != nil {
			return nil, err
		}
		return template.Load(examples.Reference, body, options)
	}
	body, err := readFile(o.file)
	if err != nil {
		return nil, err
	}
	return template.Load(o.file, body, options)
}

// readFile reads a definition file of at most the size that its reader takes.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, yamldoc.MaxBytes+1))
}

// claimWait is between looks at a stack that another node applies a file to.
const claimWait = time.Second

// apply prints the plan, and does it. While another node of the cluster is at the same stack, it waits.
func (o *upOptions) apply(ctx context.Context, e *env, n *app.Node, t *template.Template) error {
	for told := false; ; told = true {
		err := o.applyOnce(ctx, e, n, t)
		if !errors.Is(err, template.ErrClaimed) {
			return err
		}
		if !told {
			fmt.Fprintf(e.stdout, "%v; waiting\n", err)
		}
		select {
		case <-time.After(claimWait):
		case <-ctx.Done():
			return err
		}
	}
}

func (o *upOptions) applyOnce(ctx context.Context, e *env, n *app.Node, t *template.Template) error {
	plan, err := n.Plan(ctx, t, o.prune)
	if err != nil {
		return err
	}
	if err := plan.Write(e.stdout); err != nil {
		return err
	}
	if o.planOnly {
		fmt.Fprintf(e.stdout, "%d changes; nothing was done\n", plan.Changes())
		return nil
	}
	outputs, err := plan.Apply(ctx, func(s *template.Step) {})
	if err != nil {
		return err
	}
	for _, out := range outputs {
		fmt.Fprintf(e.stdout, "  output %s = %s\n", out.Name, out.Value)
	}
	return nil
}

// joinStop closes a node that does not go on to serve.
func joinStop(err error, n *app.Node) error { return errors.Join(err, n.Close()) }
