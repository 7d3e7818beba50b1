// A Chart.js chart that follows theme, language and data. `sets` are
// {label, data, colour: 'primary'|'second'|'third', type?}.
;(() => {
  const COLOURS = {second: '#5b8def', third: '#38a38b', fourth: '#c26ad6'}

  satmachine.component('chart', {
    props: {
      title: String,
      // what the chart shows, for who does not see it
      sentence: {type: String, default: ''},
      // lines without the area below them
      plain: Boolean,
      labels: Array,
      sets: Array,
      kind: {type: String, default: 'bar'},
      stacked: Boolean,
      unit: {type: String, default: 'sat'}
    },
    computed: {
      summary() {
        const sums = this.sets.map(({label, data, type}) => {
          const value =
            (type || this.kind) === 'line'
              ? data[data.length - 1] || 0
              : data.reduce((sum, one) => sum + one, 0)
          return `${label}: ${this.amount(value)}`
        })
        return `${this.title}. ${sums.join('. ')}`
      },
      config() {
        const dark = this.$q.dark.isActive
        const text = dark ? 'rgba(255,255,255,.8)' : 'rgba(0,0,0,.75)'
        const line = dark ? 'rgba(255,255,255,.12)' : 'rgba(0,0,0,.1)'
        const primary = Quasar.colors.getPaletteColor('primary')
        const datasets = this.sets.map(one => {
          const colour = COLOURS[one.colour] || primary
          const drawn = one.type || this.kind
          return {
            type: drawn,
            label: one.label,
            data: one.data,
            borderColor: colour,
            backgroundColor:
              drawn === 'line'
                ? Quasar.colors.changeAlpha(colour, -0.75)
                : colour,
            fill: drawn === 'line' && !this.plain,
            tension: 0.25,
            // a line of one day is a point
            pointRadius: this.labels.length > 1 ? 0 : 3,
            pointHitRadius: 12,
            borderWidth: drawn === 'line' ? 2 : 0,
            borderRadius: 3
          }
        })
        return {
          type: this.kind,
          data: {labels: this.labels, datasets},
          options: {
            responsive: true,
            maintainAspectRatio: false,
            animation: false,
            interaction: {mode: 'index', intersect: false},
            plugins: {
              legend: {
                display: this.sets.length > 1,
                position: 'bottom',
                labels: {color: text, boxWidth: 12}
              },
              tooltip: {
                callbacks: {
                  label: ({dataset, parsed}) =>
                    `${dataset.label}: ${this.amount(parsed.y)}`
                }
              }
            },
            scales: {
              x: {
                stacked: this.stacked,
                grid: {display: false},
                ticks: {color: text, maxRotation: 0, autoSkipPadding: 12}
              },
              y: {
                stacked: this.stacked,
                beginAtZero: !this.plain,
                grid: {color: line},
                ticks: {
                  color: text,
                  maxTicksLimit: 5,
                  callback: value =>
                    this.fmt.number(value, {notation: 'compact'})
                }
              }
            }
          }
        }
      }
    },
    methods: {
      amount(value) {
        if (this.unit === 'sat') return this.fmt.sats(value)
        if (this.unit !== 'hour') return this.fmt.fiat(value, this.unit)
        return this.fmt.number(value, {
          style: 'unit',
          unit: 'hour',
          maximumFractionDigits: 1
        })
      },
      draw() {
        this.chart?.destroy()
        this.chart = new Chart(this.$refs.canvas, this.config)
      }
    },
    watch: {
      config: 'draw'
    },
    mounted() {
      this.draw()
    },
    beforeUnmount() {
      this.chart?.destroy()
    }
  })
})()
