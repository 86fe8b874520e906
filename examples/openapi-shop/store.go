package main

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// The shop's data, in memory and bounded.

const (
	maxProducts = 10_000
	maxOrders   = 10_000
	maxPictures = 64
)

var (
	errNotThere = errors.New("not there")
	errFull     = errors.New("full")
	errStock    = errors.New("not enough in stock")
)

type product struct {
	ID       int64   `json:"id" doc:"grows with time"`
	Name     string  `json:"name" example:"shuttle"`
	Category string  `json:"category" enum:"looms,tools,yarn"`
	Price    int     `json:"price" doc:"in cents"`
	Stock    int     `json:"stock"`
	Note     *string `json:"note" trim:"true" doc:"null if there is none"`
	Picture  bool    `json:"has_picture" trim:"true"`
}

type order struct {
	ID       int64     `json:"id"`
	Product  int64     `json:"product"`
	Quantity int       `json:"quantity"`
	Total    int       `json:"total" doc:"in cents"`
	Placed   time.Time `json:"placed"`
	user     string
}

// picture is an uploaded file; its bytes do not change.
type picture struct {
	kind, etag string
	data       []byte
	at         time.Time
}

type store struct {
	mu        sync.Mutex
	products  []product // by id
	orders    []order   // by id
	pictures  map[int64]*picture
	nextOrder int64
	nextThing int64
}

func newStore() *store {
	s := &store{pictures: map[int64]*picture{}}
	note := "made of beech"
	for _, p := range []product{
		{Name: "table loom", Category: "looms", Price: 48_900, Stock: 3, Note: &note},
		{Name: "floor loom", Category: "looms", Price: 219_000, Stock: 1},
		{Name: "shuttle", Category: "tools", Price: 1_450, Stock: 120},
		{Name: "heddle", Category: "tools", Price: 890, Stock: 500},
		{Name: "wool, 500 g", Category: "yarn", Price: 2_250, Stock: 80},
		{Name: "linen, 500 g", Category: "yarn", Price: 2_790, Stock: 45},
	} {
		_, _ = s.add(p) // there is room for six
	}
	return s
}

func (s *store) add(p product) (product, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.products) >= maxProducts {
		return p, errFull
	}
	s.nextThing++
	p.ID = s.nextThing
	s.products = append(s.products, p)
	return p, nil
}

func (s *store) findLocked(id int64) (int, error) {
	i, ok := slices.BinarySearchFunc(s.products, id, func(p product, id int64) int { return cmp.Compare(p.ID, id) })
	if !ok {
		return 0, errNotThere
	}
	return i, nil
}

func (s *store) get(id int64) (product, error) {
	return s.change(id, func(*product) {})
}

// change lets f change a product and returns it.
func (s *store) change(id int64, f func(*product)) (product, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(id)
	if err != nil {
		return product{}, err
	}
	f(&s.products[i])
	return s.products[i], nil
}

func (s *store) remove(id int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(id)
	if err != nil {
		return err
	}
	s.products = slices.Delete(s.products, i, i+1)
	delete(s.pictures, id)
	return nil
}

// list returns up to n products after an id, and whether there are more.
func (s *store) list(after int64, n int, category, text string) (page []product, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.products {
		if p.ID <= after || category != "" && p.Category != category || !strings.Contains(p.Name, text) {
			continue
		}
		if len(page) == n {
			return page, true
		}
		page = append(page, p)
	}
	return page, false
}

func (s *store) setPicture(id int64, p *picture) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(id)
	if err != nil {
		return err
	}
	if s.pictures[id] == nil && len(s.pictures) >= maxPictures {
		return errFull
	}
	s.pictures[id] = p
	s.products[i].Picture = true
	return nil
}

func (s *store) picture(id int64) (*picture, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pictures[id]; p != nil {
		return p, nil
	}
	return nil, errNotThere
}

func (s *store) place(user string, id int64, quantity int) (order, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.findLocked(id)
	switch {
	case err != nil:
		return order{}, err
	case len(s.orders) >= maxOrders:
		return order{}, errFull
	case s.products[i].Stock < quantity:
		return order{}, errStock
	}
	s.products[i].Stock -= quantity
	s.nextOrder++
	o := order{ID: s.nextOrder, Product: id, Quantity: quantity, Total: quantity * s.products[i].Price, Placed: time.Now().UTC(), user: user}
	s.orders = append(s.orders, o)
	return o, nil
}

// ordersOf returns up to n orders of a user below an id, the newest first.
func (s *store) ordersOf(user string, below int64, n int) []order {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := []order{}
	for _, o := range slices.Backward(s.orders) {
		if o.user == user && (below == 0 || o.ID < below) && len(page) < n {
			page = append(page, o)
		}
	}
	return page
}
