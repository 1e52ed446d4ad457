// A small SkylineDB client: standard library only. docs/protocol.md has the protocol.
// `go run . [--socket PATH] [--db FILE | --default-db]` gives a short tour.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const maxFrame = 16 << 20

// Client is one connection, for one goroutine, with one request at a time.
type Client struct {
	stream io.ReadWriteCloser
	lastID int64
}

// Statement is one SQL statement of a batch. Params is what Values made, or a map[string]any of names and Value.
type Statement struct {
	SQL    string `json:"sql"`
	Params any    `json:"params,omitempty"`
}

// Result is what one statement did. A cell of Rows is nil, int64, float64, string or []byte.
type Result struct {
	RowsAffected int64    `json:"rows_affected"`
	Columns      []string `json:"columns"`
	Rows         [][]any  `json:"rows"`
}

// Reply has the fields of the replies that this tour needs.
type Reply struct {
	ID           *int64   `json:"id"`
	Event        string   `json:"event"`
	Status       string   `json:"status"`
	Version      string   `json:"version"`
	Pid          int      `json:"pid"`
	Rev          int64    `json:"rev"`
	Epoch        int64    `json:"epoch"`
	RowsAffected int64    `json:"rows_affected"`
	Results      []Result `json:"results"`
	Refusal
}

// Refusal is the daemon's error. Match Code.
type Refusal struct {
	Code       string `json:"code"`
	Message    string `json:"message"`
	Retryable  bool   `json:"retryable"`
	Outcome    string `json:"outcome"`
	SQLiteCode string `json:"sqlite_code"`
}

func (r *Refusal) Error() string { return r.Code + ": " + r.Message }

// Call sends a request and returns its reply, or a *Refusal. After any other error connect anew.
func (c *Client) Call(request map[string]any) (*Reply, error) {
	c.lastID++
	request["id"] = c.lastID
	payload, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	if len(payload) > maxFrame {
		return nil, fmt.Errorf("the request has %d bytes, a frame at most %d", len(payload), maxFrame)
	}
	frame := binary.LittleEndian.AppendUint32(nil, uint32(len(payload)))
	if _, err := c.stream.Write(append(frame, payload...)); err != nil {
		return nil, fmt.Errorf("the request could not be sent: %w", err)
	}
	for {
		reply, err := c.read()
		if err != nil {
			return nil, fmt.Errorf("no reply, the outcome is unknown: %w", err)
		}
		// Skips progress events. An error without an id is about the connection itself.
		if reply.Event != "" || reply.ID != nil && *reply.ID != c.lastID {
			continue
		}
		if reply.Status == "error" {
			return nil, &reply.Refusal
		}
		return reply, nil
	}
}

// Batch runs the statements in one transaction. Without db: data.db in the daemon's data directory.
func (c *Client) Batch(db string, statements ...Statement) (*Reply, error) {
	request := map[string]any{"type": "ExecBatch", "stmts": statements}
	if db != "" { // optional fields are left out, never null
		request["db"] = db
	}
	return c.Call(request)
}

func (c *Client) read() (*Reply, error) {
	var header [4]byte
	if _, err := io.ReadFull(c.stream, header[:]); err != nil {
		return nil, err
	}
	length := binary.LittleEndian.Uint32(header[:])
	if length == 0 || length > maxFrame {
		return nil, fmt.Errorf("the daemon announced a frame of %d bytes", length)
	}
	payload := make([]byte, length)
	if _, err := io.ReadFull(c.stream, payload); err != nil {
		return nil, err
	}
	var reply Reply
	decoder := json.NewDecoder(bytes.NewReader(payload))
	decoder.UseNumber() // keeps 2 and 2.0 apart, and every digit of an integer
	if err := decoder.Decode(&reply); err != nil {
		return nil, err
	}
	for _, result := range reply.Results {
		for _, row := range result.Rows {
			for i, cell := range row {
				value, err := decodeCell(cell)
				if err != nil {
					return nil, err
				}
				row[i] = value
			}
		}
	}
	return &reply, nil
}

func tour(c *Client, path, db string) error {
	ping, err := c.Call(map[string]any{"type": "Ping"})
	if err != nil {
		return err
	}
	fmt.Printf("daemon %s, pid %d, at %s\n", ping.Version, ping.Pid, path)

	const columns = "id INTEGER PRIMARY KEY, name TEXT UNIQUE, magnitude REAL, gaia_id INTEGER, image BLOB"
	const insert = "INSERT INTO example_stars (name, magnitude, gaia_id, image) VALUES (?, ?, ?, ?)"
	vega := Statement{insert, Values("Vega", 0.03, int64(1<<63-1), []byte("\x89PNG\x00"))}
	reply, err := c.Batch(db,
		Statement{SQL: "DROP TABLE IF EXISTS example_stars"},
		Statement{SQL: "CREATE TABLE example_stars (" + columns + ")"},
		vega, Statement{insert, Values("Antares", 1.0, 4, nil)})
	if err != nil {
		return err
	}
	fmt.Printf("rev %d, epoch %d, %d rows written\n", reply.Rev, reply.Epoch, reply.RowsAffected)

	limit := map[string]any{"limit": Value(2.0)}
	reply, err = c.Batch(db, Statement{"SELECT * FROM example_stars WHERE magnitude < :limit", limit})
	if err != nil {
		return err
	}
	fmt.Println(strings.Join(reply.Results[0].Columns, " | "))
	for _, row := range reply.Results[0].Rows {
		fmt.Printf("%#v | %#v | %#v | %#v | %#v\n", row...)
	}

	var refusal *Refusal
	if _, err = c.Batch(db, vega); errors.As(err, &refusal) {
		fmt.Printf("refused: %s, %s, %s\n", refusal.Code, refusal.SQLiteCode, refusal.Outcome)
		return nil
	}
	return err
}

func run(socket, db string) error {
	path, err := endpoint(socket)
	if err != nil {
		return err
	}
	stream, err := open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		fmt.Fprintf(os.Stderr, "No daemon answers at %s. Start one with:\n  skylinedb-daemon --socket %s\n", path, path)
		os.Exit(3)
	}
	if err != nil {
		return err
	}
	defer stream.Close()
	return tour(&Client{stream: stream}, path, db)
}

func main() {
	socket := flag.String("socket", "", "where the daemon listens")
	db := flag.String("db", "stars.db", "the database `file`")
	noName := flag.Bool("default-db", false, "name no file: data.db where the daemon keeps its data")
	flag.Parse()
	file, err := filepath.Abs(*db)
	if *noName {
		file = ""
	}
	if err == nil {
		err = run(*socket, file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
