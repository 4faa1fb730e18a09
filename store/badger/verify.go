package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	badgerdb "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

var errTable = errors.New("table is damaged")

// manifestTables returns the ids of the tables that Badger will open; none if there is no manifest.
func manifestTables(dir string) (map[uint64]bool, error) {
	f, err := os.Open(filepath.Join(dir, badgerdb.ManifestFilename))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, _, err := badgerdb.ReplayManifestFile(f, 0, badgerdb.DefaultOptions(dir))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", badgerdb.ManifestFilename, err)
	}
	ids := map[uint64]bool{}
	for id := range m.Tables {
		ids[id] = true
	}
	return ids, nil
}

// verifyTable checks every checksum of a table file and every length on the way to them. Badger reads the lengths in a
// block's and in the file's footer before it checks any sum, in goroutines of its own: a flipped bit there ends the process
// at each start, and some sums that do not match make it go on without the table.
func verifyTable(path string) (data []byte, err error) {
	data, err = os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer func() { // the index's decoder trusts what it reads
		if r := recover(); r != nil {
			err = fmt.Errorf("%s: %w: %v", path, errTable, r)
		}
	}()
	index, sum, rest, ok := trailer(data)
	if !ok || !sumMatches(index, sum) {
		return nil, fmt.Errorf("%s: index: %w", path, errTable)
	}
	ti := fb.GetRootAsTableIndex(index, 0)
	if ti.OffsetsLength() == 0 {
		return nil, fmt.Errorf("%s: no blocks: %w", path, errTable)
	}
	for i := range ti.OffsetsLength() {
		var at fb.BlockOffset
		if !ti.Offsets(&at, i) || uint64(at.Offset())+uint64(at.Len()) > uint64(len(rest)) {
			return nil, fmt.Errorf("%s: block %d: %w", path, i, errTable)
		}
		block := rest[at.Offset():][:at.Len()]
		content, sum, ok := cutSum(block)
		if !ok || !sumMatches(content, sum) {
			return nil, fmt.Errorf("%s: block %d at %d: %w", path, i, at.Offset(), errTable)
		}
	}
	return data, nil
}

// cutSum splits content, checksum and the checksum's length, which are how both a block and the index end.
func cutSum(p []byte) (content, sum []byte, ok bool) {
	if len(p) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(p[len(p)-4:]))
	p = p[:len(p)-4]
	if n > uint64(len(p)) {
		return nil, nil, false
	}
	return p[:uint64(len(p))-n], p[uint64(len(p))-n:], true
}

// trailer splits a table file: blocks, index, the index's length, its checksum, the checksum's length.
func trailer(p []byte) (index, sum, blocks []byte, ok bool) {
	p, sum, ok = cutSum(p)
	if !ok {
		return nil, nil, nil, false
	}
	blocks, index, ok = cutSum(p)
	return index, sum, blocks, ok
}

func sumMatches(data, sum []byte) bool {
	var want pb.Checksum
	return proto.Unmarshal(sum, &want) == nil && y.VerifyChecksum(data, &want) == nil
}
