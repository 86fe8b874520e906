package web

import (
	"net/http"

	"github.com/gin-gonic/gin"
)

type ginPath struct {
	ID int64 `uri:"id" binding:"min=1"`
}

type ginQuery struct {
	Count int `form:"count,default=20" binding:"min=1,max=200"`
	Page  int `form:"page,default=1"`
}

type ginBody struct {
	Name  string   `json:"name" binding:"required,min=1,max=50"`
	Email string   `json:"email" binding:"required,email"`
	Age   int      `json:"age" binding:"min=0,max=150"`
	Tags  []string `json:"tags" binding:"max=8,dive,max=20"`
	City  struct {
		Name string `json:"name" binding:"max=40"`
		Zip  string `json:"zip" binding:"max=10"`
	} `json:"city"`
}

func init() {
	register(peer{name: "gin", handler: func() http.Handler {
		gin.SetMode(gin.ReleaseMode)
		e := gin.New()
		ginUsers(e)
		return e
	}})
}

// ginUsers registers the interfaces.
func ginUsers(e *gin.Engine) {
	e.GET("/users/:id", func(c *gin.Context) {
		var p ginPath
		var q ginQuery
		if c.ShouldBindUri(&p) != nil || c.ShouldBindQuery(&q) != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusOK, answer(p.ID, q.Count))
	})
	e.POST("/users", func(c *gin.Context) {
		var b ginBody
		if c.ShouldBindJSON(&b) != nil {
			c.Status(http.StatusBadRequest)
			return
		}
		c.JSON(http.StatusOK, answer(7, b.Age))
	})
	e.GET("/timeline", func(c *gin.Context) { c.JSON(http.StatusOK, theTimeline) })
}
