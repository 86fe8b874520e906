package hbasestore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/heddle-go/heddle/objstore/hbasestore/internal/thrift2"
)

// newVersions is the attribute of a family whose deletes do not reach what is
// written after them.
const newVersions = "NEW_VERSION_BEHAVIOR"

// saltsRow notes how many salts a table has, where no salt is.
var saltsRow = []byte("\xffsalts")

// openTable makes the table if there is none, and checks that it can be used.
func (s *Store) openTable(ctx context.Context) error {
	ctx, cancel := s.timeLimit(ctx)
	defer cancel()
	name := &thrift2.TTableName{Qualifier: s.table}
	if ns, rest, ok := strings.Cut(s.opts.Table, ":"); ok {
		name.Ns, name.Qualifier = []byte(ns), []byte(rest)
	}
	found := false
	exists := func() error {
		_, err := s.pool.call(ctx, "look for table "+s.opts.Table, func(c *thrift2.THBaseServiceClient) (err error) {
			found, err = c.TableExists(ctx, name)
			return err
		})
		return err
	}
	if err := exists(); err != nil {
		return err
	}
	if !found {
		err := s.makeTable(ctx, name)
		if err != nil && (exists() != nil || !found) { // somebody else was faster, or our own first try
			return err
		}
	}
	if err := s.checkFamily(ctx, name); err != nil {
		return err
	}
	return s.checkSalts(ctx)
}

func (s *Store) makeTable(ctx context.Context, name *thrift2.TTableName) error {
	one := int32(1)
	desc := &thrift2.TTableDescriptor{TableName: name, Columns: []*thrift2.TColumnFamilyDescriptor{{
		Name: family, MaxVersions: &one, Attributes: map[string][]byte{newVersions: []byte("true")},
	}}}
	var splits [][]byte
	for i := 1; i < s.opts.Salts; i++ {
		splits = append(splits, []byte{byte(i)})
	}
	_, err := s.pool.call(ctx, "make table "+s.opts.Table, func(c *thrift2.THBaseServiceClient) error {
		return c.CreateTable(ctx, desc, splits)
	})
	return err
}

func (s *Store) checkFamily(ctx context.Context, name *thrift2.TTableName) error {
	var desc *thrift2.TTableDescriptor
	_, err := s.pool.call(ctx, "describe table "+s.opts.Table, func(c *thrift2.THBaseServiceClient) (err error) {
		desc, err = c.GetTableDescriptor(ctx, name)
		return err
	})
	if err != nil {
		return err
	}
	for _, f := range desc.Columns {
		if string(f.Name) != string(family) {
			continue
		}
		if !strings.EqualFold(string(f.Attributes[newVersions]), "true") {
			return fmt.Errorf("hbasestore: table %s: family %s has no %s", s.opts.Table, family, newVersions)
		}
		return nil
	}
	return fmt.Errorf("hbasestore: table %s: no family %s", s.opts.Table, family)
}

// checkSalts writes down how many salts a new table has, or compares.
func (s *Store) checkSalts(ctx context.Context) error {
	want := strconv.Itoa(s.opts.Salts)
	var results []*thrift2.TResult_
	_, err := s.pool.call(ctx, "note the salts", func(c *thrift2.THBaseServiceClient) error {
		// Whoever is first; the answer does not matter, because it is read then.
		_, err := c.CheckAndMutate(ctx, s.table, saltsRow, family, versionCell, thrift2.TCompareOperator_EQUAL, nil,
			&thrift2.TRowMutations{Row: saltsRow, Mutations: []*thrift2.TMutation{{Put: newPut(saltsRow, 1, []byte(want))}}})
		if err == nil {
			results, err = c.GetMultiple(ctx, s.table, []*thrift2.TGet{{Row: saltsRow, Columns: columns(versionCell, valueCell)}})
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(results) != 1 {
		return errors.New("hbasestore: note the salts: no answer")
	}
	row, found, err := parseRow(saltsRow, results[0])
	if err == nil && (!found || string(row.Value) != want) {
		err = fmt.Errorf("hbasestore: table %s has %q salts, Options.Salts is %s", s.opts.Table, row.Value, want)
	}
	return err
}
