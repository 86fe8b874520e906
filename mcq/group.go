package mcq

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

// groupHead is what stands before a group in the journal. Numbers are little-endian;
// the sums are CRC-32C that begin with the store's salt, which nobody else knows, so
// that no message can be made to look like a group:
//
//	magic 4
//	length of the payload 4
//	number 8     counted from 1, over all files and uses of the store
//	synced 8     the last group of which was known that the disk had it
//	flushed 8    the last group of which was known that tables had it, and all before
//	sum of the payload 4
//	sum of the head up to here 4
//	payload      a batch of Pebble's
//	zeros        up to a multiple of 8
type groupHead struct {
	number, synced, flushed uint64

	length int
	sum    uint32 // of the payload
}

const (
	groupMagic    = "mcqG"
	groupHeadSize = 40
	groupAlign    = 8
)

var padding [groupAlign]byte

// append appends a group, the padding included.
func (h *groupHead) append(b, payload []byte, salt uint32) []byte {
	begin := len(b)
	b = append(b, groupMagic...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = binary.LittleEndian.AppendUint64(b, h.synced)
	b = binary.LittleEndian.AppendUint64(b, h.flushed)
	b = binary.LittleEndian.AppendUint32(b, saltedSum(salt, payload))
	b = binary.LittleEndian.AppendUint32(b, saltedSum(salt, b[begin:]))
	b = append(b, payload...)
	return append(b, padding[:groupSize(len(payload))-groupHeadSize-len(payload)]...)
}

// parse reads the head at the beginning of data, which has to hold the payload as well.
func (h *groupHead) parse(data []byte, salt uint32) bool {
	if len(data) < groupHeadSize || !bytes.HasPrefix(data, []byte(groupMagic)) ||
		binary.LittleEndian.Uint32(data[groupHeadSize-4:]) != saltedSum(salt, data[:groupHeadSize-4]) {
		return false
	}
	*h = groupHead{
		number: binary.LittleEndian.Uint64(data[8:]), synced: binary.LittleEndian.Uint64(data[16:]), flushed: binary.LittleEndian.Uint64(data[24:]),
		length: int(binary.LittleEndian.Uint32(data[4:])), sum: binary.LittleEndian.Uint32(data[32:]),
	}
	return h.length <= len(data)-groupHeadSize
}

// payload returns that of the group whose head was read from data, nil if it is not
// what was written.
func (h *groupHead) payload(data []byte, salt uint32) []byte {
	p := data[groupHeadSize : groupHeadSize+h.length]
	if saltedSum(salt, p) != h.sum {
		return nil
	}
	return p
}

// groupSize is how much a group takes whose payload has so many bytes.
func groupSize(payload int) int {
	return (groupHeadSize + payload + groupAlign - 1) / groupAlign * groupAlign
}

func saltedSum(salt uint32, data []byte) uint32 { return crc32.Update(salt, castagnoli, data) }
