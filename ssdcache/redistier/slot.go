package redistier

import "strings"

// slot is the part of a cluster that a key belongs to: CRC-16/XMODEM modulo
// 16384, of what is between the first { and the } behind it if there is anything.
func slot(key string) int {
	if _, rest, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(rest, "}"); ok && tag != "" {
			key = tag
		}
	}
	var crc uint16
	for i := range len(key) {
		crc ^= uint16(key[i]) << 8
		for range 8 {
			carry := crc >> 15
			crc = crc<<1 ^ carry*0x1021
		}
	}
	return int(crc % slots)
}

const slots = 16384
