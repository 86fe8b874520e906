package web

import (
	"net/http"

	"github.com/go-playground/validator/v10"
	"github.com/labstack/echo/v4"
)

type echoGet struct {
	ID    int64 `param:"id" validate:"min=1"`
	Count int   `query:"count" validate:"min=1,max=200"`
	Page  int   `query:"page"`
}

type echoBody struct {
	Name  string   `json:"name" validate:"required,min=1,max=50"`
	Email string   `json:"email" validate:"required,email"`
	Age   int      `json:"age" validate:"min=0,max=150"`
	Tags  []string `json:"tags" validate:"max=8,dive,max=20"`
	City  struct {
		Name string `json:"name" validate:"max=40"`
		Zip  string `json:"zip" validate:"max=10"`
	} `json:"city"`
}

type echoValidator struct{ v *validator.Validate }

func (e echoValidator) Validate(i any) error { return e.v.Struct(i) }

func init() {
	register(peer{name: "echo", handler: func() http.Handler { return newEcho() }})
}

// newEcho has the interfaces registered.
func newEcho() *echo.Echo {
	e := echo.New()
	e.Validator = echoValidator{validator.New()}
	e.GET("/users/:id", func(c echo.Context) error {
		in := echoGet{Count: 20, Page: 1}
		if c.Bind(&in) != nil || c.Validate(&in) != nil {
			return c.NoContent(http.StatusBadRequest)
		}
		return c.JSON(http.StatusOK, answer(in.ID, in.Count))
	})
	e.POST("/users", func(c echo.Context) error {
		var in echoBody
		if c.Bind(&in) != nil || c.Validate(&in) != nil {
			return c.NoContent(http.StatusBadRequest)
		}
		return c.JSON(http.StatusOK, answer(7, in.Age))
	})
	e.GET("/timeline", func(c echo.Context) error { return c.JSON(http.StatusOK, theTimeline) })
	return e
}
