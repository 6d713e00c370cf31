# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: Waybill contributors
#
# Draws the tables of waybill_compare: gnuplot -e "tables='DIR'; results='DIR/NAME'" charts.gnuplot
# A chart that has no table, or only one point, is not drawn.
set terminal svg size 900,560 font "sans,14" background rgb "white"
set datafile missing "?"
set key outside right
set grid
set logscale xy
set format x "%.0f"
set format y "%.0f"

chart_names = "put-by-writers put-latency-by-images start-by-images get-by-images"
array titles[4] = ["Durable puts per second by writers, among 1,000 images; more is better", \
    "Put by one writer, median by images held; less is better", \
    "New process: open the store and list everything; less is better", \
    "Get with every field read, one reader; less is better"]
array y_names[4] = ["puts/s", "microseconds", "milliseconds", "nanoseconds"]

do for [i = 1:words(chart_names)] {
    name = word(chart_names, i)
    file = tables."/".name.".table"
    if (int(system("cat '".file."' 2>/dev/null | wc -l")) > 2) {
        set output results."-".name.".svg"
        set title titles[i]
        set ylabel y_names[i]
        set xlabel (i == 1 ? "writers" : "images held")
        columns = int(system("head -1 '".file."' | wc -w"))
        plot for [c = 2:columns] file using 1:c with linespoints \
            linewidth (word(system("head -1 '".file."'"), c) eq "waybill" ? 4 : 1.5) \
            pointtype c title word(system("head -1 '".file."'"), c)
        set output
    }
}
