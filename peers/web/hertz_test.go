package web

import (
	"context"
	"net"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/hlog"
)

type hertzGet struct {
	ID    int64 `path:"id" vd:"$>=1"`
	Count int   `query:"count" default:"20" vd:"$>=1 && $<=200"`
	Page  int   `query:"page" default:"1"`
}

func init() {
	register(peer{name: "hertz", serve: func(ln net.Listener) {
		hlog.SetLevel(hlog.LevelFatal)
		h := server.New(server.WithListener(ln))
		h.GET("/users/:id", func(_ context.Context, c *app.RequestContext) {
			var in hertzGet
			if c.BindAndValidate(&in) != nil {
				c.SetStatusCode(400)
				return
			}
			c.JSON(200, answer(in.ID, in.Count))
		})
		_ = h.Run()
	}})
}
