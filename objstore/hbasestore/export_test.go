package hbasestore

import (
	"context"

	"github.com/heddle-go/heddle/objstore/hbasestore/internal/thrift2"
)

// Drop removes a store's table.
func (s *Store) Drop(ctx context.Context) error {
	name := &thrift2.TTableName{Qualifier: s.table}
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	_, err := s.pool.call(ctx, "drop", func(c *thrift2.THBaseServiceClient) error {
		if err := c.DisableTable(ctx, name); err != nil {
			return err
		}
		return c.DeleteTable(ctx, name)
	})
	return err
}
