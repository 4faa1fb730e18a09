package console

import "net/http"

func (c *Console) schedule(http.ResponseWriter, *http.Request)    {}
func (c *Console) newDelivery(http.ResponseWriter, *http.Request) {}
func (c *Console) setDelivery(http.ResponseWriter, *http.Request) {}
func (c *Console) delivery(http.ResponseWriter, *http.Request)    {}
func (c *Console) proposals(http.ResponseWriter, *http.Request)   {}
func (c *Console) proposal(http.ResponseWriter, *http.Request)    {}
func (c *Console) decide(http.ResponseWriter, *http.Request)      {}
