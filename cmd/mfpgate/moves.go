package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mfpgate/mfpgate"
	"github.com/mfpgate/mfpgate/daemon/control"
)

func (p *process) moves() *cobra.Command {
	c := &cobra.Command{Use: "moves", Short: "Move devices to the cloud of another region, and see where their data are", Args: cobra.NoArgs,
		Long: "Move devices to the cloud of another region, and see where their data are.\nA device is named by its id, or by its name where no other has the same. " +
			"A move is planned first; it begins with the hash of the plan that was shown."}
	p.listMoves(c)
	list := &cobra.Command{Use: "list", Short: "List the moves that are open or ended in the last 90 days", Args: cobra.NoArgs}
	p.listMoves(list)
	c.AddCommand(list, p.planMove(), p.startMove(), p.showMove(),
		p.actOnMove("abort", "Take back a move that is not committed"),
		p.actOnMove("retry", "Try the present step again at once"),
		p.actOnMove("confirm-lost", "Give up waiting for a device that will not come to its new region"),
		p.residences(), p.enrol())
	return c
}

func (p *process) listMoves(c *cobra.Command) {
	r := p.remote(c).shows(c)
	open := c.Flags().Bool("open", false, "only those that have not ended")
	c.RunE = func(c *cobra.Command, _ []string) error {
		list, err := items[mfpgate.Move](c.Context(), r, "moves")
		if err != nil {
			return err
		}
		if *open {
			list = slices.DeleteFunc(list, func(m mfpgate.Move) bool { return m.State.Ended() })
		}
		if *r.json {
			return p.printItems(list)
		}
		names, err := r.names(c.Context())
		if err != nil {
			return err
		}
		printMoves(p.out, list, names, p.clock.Now())
		return nil
	}
}

// items is a list of the API.
func items[T any](ctx context.Context, r *remote, path string) ([]T, error) {
	text, err := r.call(ctx, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	var list struct{ Items []T }
	return list.Items, decode(text, &list)
}

// printItems prints a list as the API does.
func (p *process) printItems(list any) error {
	return json.NewEncoder(p.out).Encode(struct {
		Items any `json:"items"`
	}{list})
}

// names are the devices' names by id.
func (r *remote) names(ctx context.Context) (map[mfpgate.DeviceID]string, error) {
	all, err := r.devices(ctx)
	names := map[mfpgate.DeviceID]string{}
	for _, d := range all {
		names[d.ID] = d.Name
	}
	return names, err
}

// wanted are the flags that say what a move shall be; the same ones give the same plan.
type wanted struct {
	to   *string
	data *[]string
}

func (p *process) wants(c *cobra.Command) wanted {
	return wanted{c.Flags().String("to", "", "the region to move to, such as jp (default: the site's)"),
		c.Flags().StringArray("data", nil, "CLASS=move, reset or leave: what becomes of a class of data; =POLICY names all other classes (default: they are moved)")}
}

func (w wanted) request(id mfpgate.DeviceID) (map[string]any, error) {
	body := map[string]any{"deviceId": id}
	if *w.to != "" {
		body["toRegion"] = *w.to
	}
	data := map[string]string{}
	for _, text := range *w.data {
		class, policy, ok := strings.Cut(text, "=")
		switch mfpgate.DataPolicy(policy) {
		case mfpgate.DataMove, mfpgate.DataReset, mfpgate.DataLeave:
		default:
			ok = false
		}
		if _, twice := data[class]; !ok || twice {
			return nil, &exit{usage, fmt.Errorf("--data takes a class once, as CLASS=move, CLASS=reset or CLASS=leave, and not %s", clean(text))}
		}
		data[class] = policy
	}
	if len(data) > 0 {
		body["data"] = data
	}
	return body, nil
}

// again writes the flags as they would have to be given once more.
func (w wanted) again() string {
	text := ""
	if *w.to != "" {
		text += " --to " + quoted(*w.to)
	}
	for _, d := range *w.data {
		text += " --data " + quoted(d)
	}
	return text
}

// quoted is a word of a shell.
func quoted(word string) string {
	plain := func(c rune) bool {
		return c < 0x80 && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("._=-", c))
	}
	if word != "" && strings.IndexFunc(word, func(c rune) bool { return !plain(c) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(clean(word), "'", `'\''`) + "'"
}

func (p *process) planMove() *cobra.Command {
	c := &cobra.Command{Use: "plan DEVICE", Short: "Show what a move would do, and fail if it cannot be made", Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	w := p.wants(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, body, err := r.asks(c.Context(), w, args[0])
		if err != nil {
			return err
		}
		body["dryRun"] = true
		text, err := r.call(c.Context(), http.MethodPost, "moves", body)
		if err != nil {
			return err
		}
		var plan mfpgate.MovePlan
		if err := decode(text, &plan); err != nil {
			return err
		}
		if *r.json {
			fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
		} else {
			printMovePlan(p.out, plan, args[0])
		}
		if len(plan.Blockers) > 0 {
			return &exit{code: refused}
		}
		if !*r.json {
			fmt.Fprintf(p.out, "\nhint: `mfpgate moves start %s --plan %s%s` begins it\n", clean(string(id)), clean(plan.Hash), w.again())
		}
		return nil
	}
	return c
}

// asks is the request for a device's move.
func (r *remote) asks(ctx context.Context, w wanted, device string) (mfpgate.DeviceID, map[string]any, error) {
	if _, err := w.request(""); err != nil { // what cannot be meant needs no daemon
		return "", nil, err
	}
	id, err := r.device(ctx, device)
	if err != nil {
		return "", nil, err
	}
	body, err := w.request(id)
	return id, body, err
}

func (p *process) startMove() *cobra.Command {
	c := &cobra.Command{Use: "start DEVICE", Short: "Move a device as the plan says that was shown", Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	w := p.wants(c)
	hash := c.Flags().String("plan", "", "the plan's hash, as `moves plan` shows it (required)")
	key := c.Flags().String("key", "", "a word of yours, of at most 128 characters: the same command with the same one begins no second move (default: a new one)")
	wait := c.Flags().Bool("wait", false, "follow it to its end, and fail if that is not a good one")
	_ = c.MarkFlagRequired("plan")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *hash == "" {
			return &exit{usage, errors.New("--plan takes the hash that `mfpgate moves plan` shows")}
		}
		_, body, err := r.asks(c.Context(), w, args[0])
		if err != nil {
			return err
		}
		body["plan"] = *hash
		r.key = cmp.Or(*key, rand.Text())
		text, err := r.call(c.Context(), http.MethodPost, "moves", body)
		if err != nil {
			return err
		}
		var m mfpgate.Move
		if err := decode(text, &m); err != nil {
			return err
		}
		switch {
		case *wait:
			if !*r.json {
				fmt.Fprintln(p.out, clean(string(m.ID)))
			}
			return r.followMove(c.Context(), m.ID)
		case *r.json:
			fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
		default:
			fmt.Fprintf(p.out, "%s: %s\nhint: `mfpgate moves status %s` shows how far it is\n", clean(string(m.ID)), clean(moveProgress(m)), clean(string(m.ID)))
		}
		return nil
	}
	return c
}

// followMove tells what a move becomes until it has ended. One that was taken back is an exit.
func (r *remote) followMove(ctx context.Context, id mfpgate.MoveID) error {
	m, err := follow(ctx, r, "moves/"+string(id)+"/events", following[mfpgate.Move]{
		progress: moveProgress, since: func(m mfpgate.Move) string { return timeOfDay(m.Since) }, ended: func(m mfpgate.Move) bool { return m.State.Ended() }})
	if err != nil {
		return err
	}
	if *r.json {
		if err := json.NewEncoder(r.process.out).Encode(m); err != nil {
			return err
		}
	}
	if m.State != mfpgate.MoveDone {
		return &exit{code: refused}
	}
	return nil
}

func (p *process) showMove() *cobra.Command {
	c := &cobra.Command{Use: "status ID", Short: "Show everything about one move: its plan, its steps, and why it waits", Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := moveID(args[0])
		if err != nil {
			return err
		}
		var m mfpgate.Move
		return r.show(c.Context(), "moves/"+id, &m, func(w io.Writer) { printMove(w, m, p.clock.Now()) })
	}
	return c
}

// actOnMove is a command that changes a move, and prints what it is then.
func (p *process) actOnMove(verb, short string) *cobra.Command {
	c := &cobra.Command{Use: verb + " ID", Short: short, Args: cobra.ExactArgs(1)}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := moveID(args[0])
		if err != nil {
			return err
		}
		text, err := r.call(c.Context(), http.MethodPost, "moves/"+id+"/"+verb, nil)
		if err != nil {
			return err
		}
		if *r.json {
			_, err := fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
			return err
		}
		var m mfpgate.Move
		if err := decode(text, &m); err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s: %s\n", clean(string(m.ID)), clean(moveProgress(m)))
		return err
	}
	return c
}

func (p *process) residences() *cobra.Command {
	c := &cobra.Command{Use: "residences", Short: "List where the data of each device are, since when, and who promised that they are nowhere else", Args: cobra.NoArgs}
	r := p.remote(c).shows(c)
	asCSV := c.Flags().Bool("csv", false, "print RFC 4180 with a header, for spreadsheets")
	c.MarkFlagsMutuallyExclusive("json", "csv")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *r.json {
			return r.show(c.Context(), "residences", nil, nil)
		}
		list, err := items[mfpgate.Residence](c.Context(), r, "residences")
		if err != nil {
			return err
		}
		if *asCSV {
			return control.WriteResidencesCSV(p.out, list)
		}
		printResidences(p.out, list, p.clock.Now())
		return nil
	}
	return c
}

func (p *process) enrol() *cobra.Command {
	c := &cobra.Command{Use: "enrol DEVICE", Short: "Register a device of another market in the site region, under the id that its market gave it", Args: cobra.ExactArgs(1),
		Long: "Register a device of another market in the site region, under the id that its market gave it.\nNo data move; `mfpgate moves plan` shows what a move would do."}
	r := p.remote(c).shows(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		id, err := r.device(c.Context(), args[0])
		if err != nil {
			return err
		}
		text, err := r.call(c.Context(), http.MethodPost, "residences/"+string(id)+"/enrol", nil)
		if err != nil {
			return err
		}
		if *r.json {
			_, err := fmt.Fprintln(p.out, string(bytes.TrimSpace(text)))
			return err
		}
		var of mfpgate.Residence
		if err := decode(text, &of); err != nil {
			return err
		}
		fmt.Fprintf(p.out, "%s: registered here as %s\n", clean(string(of.Device)), clean(of.Registration))
		if regions := abroad(of); len(regions) > 0 {
			fmt.Fprintf(p.out, "hint: its data are in %s; `mfpgate moves plan %s` shows what a move would do\n", clean(strings.Join(regions, ", ")), clean(string(of.Device)))
		}
		return nil
	}
	return c
}

// abroad are the regions in which a device of state foreign or abroad has its data.
func abroad(of mfpgate.Residence) []string {
	if of.State != mfpgate.ResidenceForeign && of.State != mfpgate.ResidenceAbroad {
		return nil
	}
	regions := map[string]bool{}
	for _, d := range of.Data {
		regions[d.Region] = true
	}
	if len(regions) == 0 && of.Home != "" {
		regions[of.Home] = true
	}
	return slices.Sorted(maps.Keys(regions))
}

// moveID refuses what can be none before it becomes a part of an address.
func moveID(text string) (string, error) {
	if !registrationForm.MatchString(text) {
		return "", &exit{usage, fmt.Errorf("%s is no move's id; `mfpgate moves` lists them", clean(text))}
	}
	return text, nil
}

// decode reads an answer of the daemon.
func decode(text []byte, into any) error {
	if err := json.Unmarshal(text, into); err != nil {
		return &exit{refused, fmt.Errorf("the daemon's answer: %w", err)}
	}
	return nil
}
