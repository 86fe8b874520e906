// Package fill reads bodies into buffers for the stores of contents.
package fill

import "io"

// Buffer reads until buf is full or r fails. Unlike io.ReadFull it returns what r
// returned: a body that was cut short ends in io.ErrUnexpectedEOF too.
func Buffer(r io.Reader, buf []byte) (n int, err error) {
	for idle := 0; n < len(buf) && err == nil; {
		var got int
		if got, err = r.Read(buf[n:]); got > 0 {
			idle = 0
		} else if idle++; idle == 100 && err == nil {
			err = io.ErrNoProgress
		}
		n += got
	}
	return n, err
}
