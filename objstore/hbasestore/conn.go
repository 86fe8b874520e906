package hbasestore

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/heddle-go/heddle/objstore/hbasestore/internal/thrift2"
)

// errTooLarge ends an answer of more than Options.MaxMessage.
var errTooLarge = errors.New("answer of more than Options.MaxMessage")

// conn is a connection to a gateway. It has one call at a time.
type conn struct {
	net    net.Conn
	addr   string
	client *thrift2.THBaseServiceClient
	wire   *wire
	used   time.Time // when its last call ended; zero before the first
}

func dial(ctx context.Context, addr string, o *Options) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if o.TLS != nil {
		config := o.TLS.Clone()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(addr)
		}
		secure := tls.Client(nc, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("%s: %w", addr, err)
		}
		nc = secure
	}
	w := &wire{conn: nc, r: bufio.NewReaderSize(nc, 64<<10), w: bufio.NewWriterSize(nc, 64<<10)}
	conf := &thrift.TConfiguration{MaxMessageSize: math.MaxInt32, MaxFrameSize: math.MaxInt32} // wire is stricter
	var transport thrift.TTransport = w
	if o.Framed {
		transport = thrift.NewTFramedTransportConf(w, conf)
	}
	protocol := thrift.NewTBinaryProtocolConf(transport, conf)
	return &conn{
		net: nc, addr: addr, wire: w,
		client: thrift2.NewTHBaseServiceClient(thrift.NewTStandardClient(protocol, protocol)),
	}, nil
}

// call makes one call. The connection is of no use any more if broken.
func (c *conn) call(ctx context.Context, maxMessage int, f func(*thrift2.THBaseServiceClient) error) (broken bool, err error) {
	deadline, _ := ctx.Deadline() // every call has one
	if err := c.net.SetDeadline(deadline); err != nil {
		return true, err
	}
	c.wire.left, c.wire.tooLarge = maxMessage, false
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	err = f(c.client)
	broken = !stop()
	switch {
	case c.wire.tooLarge:
		return true, errTooLarge
	case err != nil && !answered(err):
		broken = true
	}
	c.used = time.Now()
	return broken, err
}

// answered tells an error that a gateway sent from one of the connection.
func answered(err error) bool {
	var failed *thrift2.TIOError
	if errors.As(err, &failed) {
		return true
	}
	var refused thrift.TApplicationException
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.TypeId() {
	case thrift.WRONG_METHOD_NAME, thrift.BAD_SEQUENCE_ID, thrift.INVALID_MESSAGE_TYPE_EXCEPTION:
		return false // what came is not the answer
	}
	return true
}

// wire is a thrift.TTransport that reads only so much for one answer.
type wire struct {
	conn     net.Conn
	r        *bufio.Reader
	w        *bufio.Writer
	left     int
	tooLarge bool
}

func (w *wire) Read(p []byte) (int, error) {
	if len(p) > w.left {
		if p = p[:w.left]; len(p) == 0 {
			w.tooLarge = true
			return 0, errTooLarge
		}
	}
	n, err := w.r.Read(p)
	w.left -= n
	return n, err
}

func (w *wire) Write(p []byte) (int, error) { return w.w.Write(p) }
func (w *wire) Flush(context.Context) error { return w.w.Flush() }
func (w *wire) Open() error                 { return nil }
func (w *wire) IsOpen() bool                { return true }
func (w *wire) Close() error                { return w.conn.Close() }
func (w *wire) RemainingBytes() uint64      { return math.MaxUint64 } // not known
