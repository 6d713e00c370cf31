// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: Waybill contributors

package worker

import "sort"

func joined(lists [][]float64) []float64 {
	var all []float64
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// quantile is the one of table.cpp.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sort.Float64s(values)
	at := share * float64(len(values)-1)
	below := int(at)
	above := below + 1
	if above == len(values) {
		above = below
	}
	return values[below] + (values[above]-values[below])*(at-float64(below))
}
