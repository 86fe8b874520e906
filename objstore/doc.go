// Package objstore keeps typed objects under generated ids.
package objstore
