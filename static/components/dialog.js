// The frame of every dialog that asks for something: title, what is asked, why it was
// refused, buttons. What was typed (`typed`) is not thrown away without a question,
// neither by a click outside nor by Esc, Cancel, another section or a reload.
satmachine.component('dialog', {
  mixins: [satmachine.keepsTyped],
  props: {
    modelValue: Boolean,
    title: {type: String, required: true},
    ok: {type: String, default: ''},
    danger: Boolean,
    wide: Boolean,
    busy: Boolean,
    failure: {type: String, default: ''},
    typed: {type: Object, default: null},
    done: Boolean
  },
  emits: ['update:modelValue', 'submit', 'hide'],
  data() {
    return {was: null, isAsking: false}
  },
  computed: {
    dirty() {
      if (!this.modelValue || this.done || this.was === null) return false
      return JSON.stringify(this.typed) !== this.was
    }
  },
  watch: {
    // What was in focus is gone: the keyboard goes on where the question is, or at the
    // way out.
    done: {flush: 'post', handler: 'focusNext'},
    isAsking: {flush: 'post', handler: 'focusNext'},
    // after what it asks for was filled in
    modelValue: {
      flush: 'post',
      handler(shown) {
        this.was = shown ? JSON.stringify(this.typed) : null
        this.isAsking = false
      }
    }
  },
  methods: {
    // What is asked for first; a dialog that only tells keeps the focus on itself.
    focusFirst() {
      const fields = 'input:not([readonly]), textarea'
      this.$refs.body.$el.querySelector(fields)?.focus()
    },
    focusNext() {
      this.$refs.next?.$el.focus()
    },
    close() {
      if (this.busy) return
      if (this.dirty) this.isAsking = true
      else this.leave()
    },
    leave() {
      this.$emit('update:modelValue', false)
    }
  }
})
