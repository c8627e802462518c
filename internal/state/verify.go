package state

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"syscall"
)

// bbolt maps its file and trusts it: damage makes it panic, also on goroutines of its own, loop, or lose values in silence. So
// the file is verified before bbolt opens it, with bounded reads and independent of bbolt. Every page must be exactly what bbolt
// would have written; values are protected by their encryption, and the set of keys and values by the digest.

const (
	pageHeaderSize = 16
	elementSize    = 16
	bucketSize     = 16
	metaSize       = 64

	boltMagic   = 0xED0CDAED
	boltVersion = 2

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	noFreelist   = ^uint64(0)

	bucketElement = 0x01
	maxDepth      = 64

	// initialTxid is the id of the transaction that a new file has.
	initialTxid = 1
)

// digestSize is the size of each half of a digest.
const digestSize = 16

// A digest identifies the content of the database: one half its keys, the other its keys and values. It does not depend on
// order, so that a change updates it in place.
type digest struct{ keys, values [digestSize]byte }

// toggle adds a key with its value, or removes them if they were added before.
func (d *digest) toggle(k keyName, sealed []byte) {
	h := sha256.New()
	h.Write([]byte(k.sealName()))
	sum := h.Sum(nil)
	for i := range d.keys {
		d.keys[i] ^= sum[i]
	}
	// The authentication tag stands for the value: it is at the end.
	h.Write([]byte{0})
	h.Write(sealed[max(0, len(sealed)-16):])
	sum = h.Sum(nil)
	for i := range d.values {
		d.values[i] ^= sum[i]
	}
}

func (d *digest) bytes() []byte { return append(d.keys[:len(d.keys):len(d.keys)], d.values[:]...) }

func parseDigest(b []byte) (d digest, ok bool) {
	if len(b) != 2*digestSize {
		return d, false
	}
	copy(d.keys[:], b)
	copy(d.values[:], b[digestSize:])
	return d, true
}

// A verifier reads the file of a database.
type verifier struct {
	file      io.ReaderAt
	fileSize  int64
	pageSize  int
	pageCount uint64          // pages below it may be in use
	txid      uint64          // of the last transaction
	used      map[uint64]bool // pages that were reached
	value     func(k keyName, sealed []byte)
}

// verifyFile calls value for each key of the database in file and returns the id of the last transaction. The error wraps
// ErrCorrupt unless it is one of the system.
func verifyFile(file io.ReaderAt, size int64, value func(k keyName, sealed []byte)) (txid uint64, err error) {
	v := &verifier{file: file, fileSize: size, used: map[uint64]bool{}, value: value}
	err = v.verify()
	return v.txid, err
}

func (v *verifier) verify() error {
	root, freelist, err := v.readMeta()
	if err != nil {
		return err
	}
	if err := v.tree(root, "", nil, nil, 0); err != nil {
		return err
	}
	return v.freelist(freelist)
}

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// read fills b from the offset. A file that ends before is corrupt.
func (v *verifier) read(b []byte, offset int64) error {
	switch n, err := v.file.ReadAt(b, offset); {
	case n == len(b):
		return nil
	case errors.Is(err, io.EOF):
		return corrupt("the file ends after %d bytes", offset+int64(n))
	case errors.Is(err, syscall.EIO): // a bad sector
		return corrupt("%v at byte %d", withoutPath(err), offset+int64(n))
	default:
		return withoutPath(err)
	}
}

// readMeta reads the meta page that bbolt would use: the valid one with the higher transaction id.
func (v *verifier) readMeta() (root, freelist uint64, err error) {
	var newest []byte
	consider := func(offset int64) bool {
		b := make([]byte, pageHeaderSize+metaSize)
		if e := v.read(b, offset); e != nil {
			if !errors.Is(e, ErrCorrupt) {
				err = e
			}
			return false
		}
		m := b[pageHeaderSize:]
		h := fnv.New64a()
		h.Write(m[:56])
		if native.Uint32(m) != boltMagic || native.Uint32(m[4:]) != boltVersion || native.Uint64(m[56:]) != h.Sum64() {
			return false
		}
		if id := native.Uint64(m[48:]); newest == nil || id > v.txid {
			newest, v.txid = m, id
		}
		v.pageSize = int(native.Uint32(m[8:]))
		return true
	}
	// The second page is at an offset that only the first one tells.
	if consider(0) {
		consider(int64(v.pageSize))
	} else {
		for i := 0; i <= 14 && !consider(1024<<i); i++ {
		}
	}
	switch {
	case err != nil:
		return 0, 0, err
	case newest == nil:
		return 0, 0, corrupt("no valid meta page")
	case v.pageSize < 1024 || v.pageSize > 1<<24 || v.pageSize&(v.pageSize-1) != 0:
		return 0, 0, corrupt("page size %d", v.pageSize)
	}
	v.pageCount = native.Uint64(newest[40:])
	return native.Uint64(newest[16:]), native.Uint64(newest[32:]), nil
}

var native = binary.NativeEndian

// page reads a page with its overflow, which nothing else may use.
func (v *verifier) page(id uint64) ([]byte, error) {
	header := make([]byte, pageHeaderSize)
	if id < 2 || id >= v.pageCount {
		return nil, corrupt("page %d of %d", id, v.pageCount)
	}
	offset := int64(id) * int64(v.pageSize)
	if err := v.read(header, offset); err != nil {
		return nil, err
	}
	overflow := uint64(native.Uint32(header[12:]))
	if native.Uint64(header) != id || overflow >= v.pageCount-id {
		return nil, corrupt("header of page %d", id)
	}
	for i := id; i <= id+overflow; i++ {
		if v.used[i] {
			return nil, corrupt("page %d is used twice", i)
		}
		v.used[i] = true
	}
	// A wrong size must not allocate more than the file has.
	size := int64(overflow+1) * int64(v.pageSize)
	if offset+size > v.fileSize {
		return nil, corrupt("the file ends in page %d", id)
	}
	page := make([]byte, size)
	return page, v.read(page, offset)
}

// An element is an entry of a page.
type element struct {
	bucket     bool
	child      uint64 // page, of a branch
	key, value []byte
}

// elements parses a page and returns its elements and the bytes that they use.
func elements(page []byte, branch bool) (elems []element, used int, err error) {
	count := int(native.Uint16(page[10:]))
	used = pageHeaderSize + count*elementSize
	if used > len(page) {
		return nil, 0, corrupt("a page of %d elements", count)
	}
	for i := range count {
		at := pageHeaderSize + i*elementSize
		b := page[at : at+elementSize]
		var e element
		var pos, keySize, valueSize uint32
		if branch {
			pos, keySize, e.child = native.Uint32(b), native.Uint32(b[4:]), native.Uint64(b[8:])
		} else {
			var flags uint32
			flags, pos, keySize, valueSize = native.Uint32(b), native.Uint32(b[4:]), native.Uint32(b[8:]), native.Uint32(b[12:])
			if e.bucket = flags == bucketElement; flags > bucketElement {
				return nil, 0, corrupt("flags %#x of an element", flags)
			}
		}
		// bbolt writes the data of the elements one after the other.
		if end := uint64(used) + uint64(keySize) + uint64(valueSize); at+int(pos) != used || keySize == 0 || end > uint64(len(page)) {
			return nil, 0, corrupt("position of an element")
		}
		e.key = page[used : used+int(keySize)]
		e.value = page[used+int(keySize) : used+int(keySize)+int(valueSize)]
		used += len(e.key) + len(e.value)
		if i > 0 && bytes.Compare(elems[i-1].key, e.key) >= 0 {
			return nil, 0, corrupt("order of keys")
		}
		elems = append(elems, e)
	}
	return elems, used, nil
}

// tree verifies the pages from id, whose keys are in [low, high), of the named bucket, or of the list of buckets.
func (v *verifier) tree(id uint64, bucket string, low, high []byte, depth int) error {
	if depth > maxDepth {
		return corrupt("depth")
	}
	page, err := v.page(id)
	if err != nil {
		return err
	}
	flags := native.Uint16(page[8:])
	if flags != branchPage && flags != leafPage {
		return corrupt("flags %#x of page %d", flags, id)
	}
	elems, used, err := elements(page, flags == branchPage)
	if err != nil {
		return err
	}
	if used < len(page)-v.pageSize {
		return corrupt("size of page %d", id)
	}
	if flags == leafPage {
		return v.leaf(elems, bucket, low, high)
	}
	if len(elems) == 0 {
		return corrupt("branch page %d without elements", id)
	}
	if err := checkRange(elems, low, high); err != nil {
		return err
	}
	for i, e := range elems {
		next := high
		if i+1 < len(elems) {
			next = elems[i+1].key
		}
		if err := v.tree(e.child, bucket, e.key, next, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func checkRange(elems []element, low, high []byte) error {
	if len(elems) > 0 && (bytes.Compare(elems[0].key, low) < 0 || high != nil && bytes.Compare(elems[len(elems)-1].key, high) >= 0) {
		return corrupt("keys outside of their page's range")
	}
	return nil
}

func (v *verifier) leaf(elems []element, bucket string, low, high []byte) error {
	if err := checkRange(elems, low, high); err != nil {
		return err
	}
	for _, e := range elems {
		// There are buckets at the top, and values in them.
		if e.bucket != (bucket == "") {
			return corrupt("bucket within a bucket, or value outside of one")
		}
		if !e.bucket {
			v.value(keyName{bucket, string(e.key)}, e.value)
			continue
		}
		if len(e.value) < bucketSize {
			return corrupt("header of a bucket")
		}
		var err error
		if root := native.Uint64(e.value); root != 0 {
			if len(e.value) > bucketSize {
				return corrupt("size of the header of a bucket")
			}
			err = v.tree(root, string(e.key), nil, nil, 0)
		} else {
			err = v.inline(e.value[bucketSize:], string(e.key))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inline verifies the page of a small bucket, which bbolt stores as its value.
func (v *verifier) inline(page []byte, bucket string) error {
	if len(page) < pageHeaderSize || native.Uint16(page[8:]) != leafPage || native.Uint32(page[12:]) != 0 {
		return corrupt("header of an inline bucket")
	}
	elems, used, err := elements(page, false)
	if err != nil {
		return err
	}
	if used != len(page) {
		return corrupt("size of an inline bucket")
	}
	return v.leaf(elems, bucket, nil, nil)
}

// freelist verifies the list of free pages, which files have that were not written with NoFreelistSync. Bbolt would write into
// the pages that it names.
func (v *verifier) freelist(id uint64) error {
	if id == noFreelist {
		return nil
	}
	page, err := v.page(id)
	if err != nil {
		return err
	}
	if flags := native.Uint16(page[8:]); flags != freelistPage {
		return corrupt("flags %#x of the free list", flags)
	}
	count, ids := uint64(native.Uint16(page[10:])), page[pageHeaderSize:]
	if count == 0xFFFF {
		count, ids = native.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return corrupt("size of the free list")
	}
	for i := range count {
		free := native.Uint64(ids[8*i:])
		if free < 2 || free >= v.pageCount || v.used[free] {
			return corrupt("page %d is in use and in the free list", free)
		}
		v.used[free] = true
	}
	return nil
}
