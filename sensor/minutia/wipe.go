package minutia

// Wipe overwrites what is known of a finger.
func (t *Template) Wipe() {
	clear(t.Minutiae)
	clear(t.Ridges.Patches)
	*t = Template{}
}

// Wipe overwrites it. Nobody may be comparing with it.
func (p *Prepared) Wipe() {
	for i := range p.views {
		v := &p.views[i]
		clear(v.points)
		clear(v.flows)
		clear(v.cylinders)
		clear(v.bins.first)
		clear(v.bins.order)
		clear(v.waves.at)
		*v = view{}
	}
	p.views = nil
}
