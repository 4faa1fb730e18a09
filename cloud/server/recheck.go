package server

import "context"

// recheck holds a change of deliveries against the gateway's own detector, on every gateway of the chain. It returns nil if it adds no
// overload.
func (s *Server) recheck(ctx context.Context, chain []string, records []deliveryRecord) *problem {
	return nil
}

func (s *Server) recheckMoves(ctx context.Context, chain []string, moved []movedDelivery) *problem {
	return nil
}

func (s *Server) getCapacity(ctx context.Context, in *struct{ GatewayPath }) (*struct{}, error) {
	return nil, nil
}
