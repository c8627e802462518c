package mail

import "github.com/graph2mqtt/graph2mqtt/internal/simulator/control"

func (s *Service) controls() []control.Operation { return nil }
