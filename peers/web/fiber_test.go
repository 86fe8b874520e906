package web

import (
	"net"
	"strconv"

	"github.com/gofiber/fiber/v3"
)

type fiberQuery struct {
	Count int `query:"count"`
	Page  int `query:"page"`
}

func init() {
	register(peer{name: "fiber", serve: func(ln net.Listener) {
		app := fiber.New()
		app.Get("/users/:id", func(c fiber.Ctx) error {
			id, err := strconv.ParseInt(c.Params("id"), 10, 64)
			q := fiberQuery{Count: 20, Page: 1}
			if err != nil || id < 1 || c.Bind().Query(&q) != nil || q.Count < 1 || q.Count > 200 {
				return c.SendStatus(fiber.StatusBadRequest)
			}
			return c.JSON(answer(id, q.Count))
		})
		_ = app.Listener(ln, fiber.ListenConfig{DisableStartupMessage: true})
	}})
}
