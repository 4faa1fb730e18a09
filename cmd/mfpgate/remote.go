package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate/daemon"
	"github.com/mfpgate/mfpgate/daemon/control"
)

// maxAnswer bounds what is read from the daemon.
const maxAnswer = 64 << 20

// remote is the running daemon, as the flags of a command name it.
type remote struct {
	process *process
	socket  *string
	json    *bool
	key     string // Idempotency-Key of the next request; "" is none
}

func (p *process) remote(c *cobra.Command) *remote {
	return &remote{
		process: p,
		socket:  c.Flags().String("socket", "", "the daemon's control socket (default: $RUNTIME_DIRECTORY, /run/mfpgate or /var/lib/mfpgate)"),
	}
}

// shows adds the flag of commands that print what the daemon answers.
func (r *remote) shows(c *cobra.Command) *remote {
	r.json = c.Flags().Bool("json", false, "print the API's own objects")
	return r
}

// path finds the socket where the unit or a daemon started by hand puts it.
func (r *remote) path() string {
	if *r.socket != "" {
		return *r.socket
	}
	if dir := r.process.getenv("RUNTIME_DIRECTORY"); dir != "" {
		return daemon.ControlSocket(r.process.getenv, "")
	}
	for _, dir := range []string{"/run/mfpgate", "/var/lib/mfpgate"} {
		if path := filepath.Join(dir, "control.sock"); exists(path) {
			return path
		}
	}
	return "/run/mfpgate/control.sock"
}

// call makes one request and returns the answer's body. A problem becomes an exit with its detail.
func (r *remote) call(ctx context.Context, method, path string, body any) ([]byte, error) {
	return r.ask(ctx, method, path, nil, body)
}

func (r *remote) ask(ctx context.Context, method, path string, query url.Values, body any) ([]byte, error) {
	resp, err := r.open(ctx, control.Client(r.path()), method, path, query, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, &exit{unreachable, fmt.Errorf("read from %s: %w", r.path(), err)}
	}
	return text, nil
}

// open makes one request and returns the answer, whose body the caller closes. A problem becomes an exit with its detail.
func (r *remote) open(ctx context.Context, client *http.Client, method, path string, query url.Values, body any) (*http.Response, error) {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		send = bytes.NewReader(text)
	}
	at := url.URL{Scheme: "http", Host: "mfpgate", Path: "/api/v1/" + path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), send)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if r.key != "" {
		req.Header.Set("Idempotency-Key", r.key)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, &exit{unreachable, fmt.Errorf("the daemon does not answer on %s: %w\nhint: start it with `mfpgate serve`, or name its socket with --socket; a socket that closes at once means that this user may not use it",
			r.path(), errors.Unwrap(err))}
	}
	if resp.StatusCode > 299 {
		defer resp.Body.Close()
		var problem struct{ Detail string }
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil || json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
			problem.Detail = resp.Status
		}
		return nil, &exit{refused, errors.New(problem.Detail)}
	}
	return resp, nil
}

// show prints the API's own JSON, or decodes it for the table.
func (r *remote) show(ctx context.Context, path string, into any, table func(io.Writer)) error {
	text, err := r.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if *r.json {
		_, err := fmt.Fprintln(r.process.out, string(bytes.TrimSpace(text)))
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
	}
	table(r.process.out)
	return nil
}
