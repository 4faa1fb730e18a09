package hawkbit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/mfpgate/mfpgate"
)

// Log keeps the rows that make moves survive a crash. A row is durable once Intend returns nil. After an error it may or may
// not be there; the adapter then reads Pending again.
type Log interface {
	// Intend writes a row, in place of the one with the same Delivery.
	Intend(ctx context.Context, row Intent) error
	// Done removes the row of a delivery. One that is not there is no error.
	Done(ctx context.Context, delivery string) error
	// Pending returns all rows.
	Pending(ctx context.Context) ([]Intent, error)
}

// Intent is a row of the log: what a proposal wanted of a delivery and what became of it, and the move that is under way, which
// may be of an earlier proposal.
type Intent struct {
	Delivery string `json:"delivery"`

	Proposal  string              `json:"proposal"`
	Change    string              `json:"change"`
	State     mfpgate.ChangeState `json:"state"`
	Version   string              `json:"version,omitempty"`
	Reason    string              `json:"reason,omitempty"`
	Withdrawn bool                `json:"withdrawn,omitempty"`

	Move *Move `json:"move,omitempty"`
}

// Step is how far a move has come.
type Step string

// The steps of a move, in their order.
const (
	StepCancel    Step = "cancel"    // nothing has been sent
	StepCanceling Step = "canceling" // the cancellation may have been sent, and waits for the device
	StepHeld      Step = "held"      // there is no assignment; it is made when it is time
	StepAssign    Step = "assign"    // the assignment may have been sent
	StepAssigned  Step = "assigned"  // it is there, as Action
	StepFailed    Step = "failed"    // it can be made neither as it should be nor as it was
)

// Move is a delivery on its way to another start.
type Move struct {
	Step     Step      `json:"step"`
	Proposal string    `json:"proposal"` // that asked for it
	Target   string    `json:"target"`   // controllerId
	Action   int64     `json:"action"`   // the one to cancel, or, assigned, the new one
	Seen     string    `json:"seen"`     // the version that may be cancelled
	From     time.Time `json:"from"`
	To       time.Time `json:"to"`
	End      time.Time `json:"end,omitzero"` // of the new window; zero: there is none
	Set      int64     `json:"set"`          // the distribution set
	Was      Order     `json:"was"`          // as somebody ordered it
	Accepted bool      `json:"accepted,omitempty"`
	Restore  bool      `json:"restore,omitempty"` // it is to be assigned as it was, and at once
	Missed   bool      `json:"missed,omitempty"`  // its own one-shot window passed unused

	Shown mfpgate.Delivery `json:"shown"` // as it was read; its start and version aside
}

// Order is when and how a distribution set is to be installed.
type Order struct {
	Type      string  `json:"type,omitempty"` // forced, soft, timeforced, downloadonly
	ForceTime int64   `json:"forceTime,omitempty"`
	Weight    *int    `json:"weight,omitempty"`
	Window    *Window `json:"window,omitempty"`
}

// Window is hawkBit's maintenance window.
type Window struct {
	Schedule string `json:"schedule"` // Quartz cron
	Duration string `json:"duration"` // HH:mm:ss
	Timezone string `json:"timezone"` // +02:00
	// NextStart is when it opens next, or has opened if it is open, in milliseconds; 0: never again.
	NextStart int64 `json:"nextStartAt,omitempty"`
}

func digest(v any) string {
	text, _ := json.Marshal(v) // plain structs
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12])
}

// load brings the rows into memory. work is held.
func (c *Client) load(ctx context.Context) error {
	c.mu.Lock()
	read := c.read
	c.mu.Unlock()
	if read {
		return nil
	}
	list, err := c.o.Log.Pending(ctx)
	if err != nil {
		return err
	}
	rows := make(map[string]Intent, len(list))
	for _, r := range list {
		rows[r.Delivery] = r
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rows, c.read = rows, true
	return nil
}

// put writes a row, and forgets it if there is nothing left to say. work is held.
func (c *Client) put(ctx context.Context, row Intent) error {
	err := c.o.Log.Intend(ctx, row)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.read = false
		return err
	}
	c.rows[row.Delivery] = row
	return nil
}

// drop removes a row. work is held.
func (c *Client) drop(ctx context.Context, delivery string) error {
	err := c.o.Log.Done(ctx, delivery)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.read = false
		return err
	}
	delete(c.rows, delivery)
	return nil
}

// snapshot returns the rows as they are. The moves in them are copies.
func (c *Client) snapshot() map[string]Intent {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]Intent, len(c.rows))
	for id, r := range c.rows {
		if r.Move != nil {
			m := *r.Move
			r.Move = &m
		}
		out[id] = r
	}
	return out
}
