{{/*
A pod of `helm test`: runs a script in the image's own Node, which has `ask(path, init)`: an answer from the gateway's Service, or,
while nobody listens, another try. Takes `context`, `test` (its name) and `script`.
*/}}
{{- define "signalbox.testPod" -}}
{{- $values := .context.Values -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ include "signalbox.nameFor" (dict "context" .context "end" (printf "test-%s" .test)) }}
  namespace: {{ .context.Release.Namespace }}
  labels:
    {{- /* Not the gateway's name: its Service must not send requests here. A key is there once: the pod's own label wins. */}}
    {{- $name := printf "%s-test" (include "signalbox.name" .context | trunc 58) }}
    {{- $labels := dict "app.kubernetes.io/name" $name "app.kubernetes.io/instance" .context.Release.Name "app.kubernetes.io/component" "test" "app.kubernetes.io/managed-by" .context.Release.Service }}
    {{- merge $labels (default (dict) $values.commonLabels) | toYaml | nindent 4 }}
  annotations:
    {{- $hook := dict "helm.sh/hook" "test" "helm.sh/hook-delete-policy" "before-hook-creation,hook-succeeded" }}
    {{- merge $hook (default (dict) $values.commonAnnotations) | toYaml | nindent 4 }}
spec:
  restartPolicy: Never
  activeDeadlineSeconds: 120
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $values.image.pullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: test
      image: {{ include "signalbox.image" .context | quote }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      command:
        - node
        - --input-type=module
        - --eval
        - |
          import assert from 'node:assert/strict'
          import { setTimeout as sleep } from 'node:timers/promises'

          const { SIGNALBOX_URL, CLIENT_KEY, KEYS_NEEDED } = process.env
          const headers = { 'content-type': 'application/json', ...(CLIENT_KEY && { authorization: `Bearer ${CLIENT_KEY}` }) }
          async function ask(path, init = {}) {
            for (let tries = 1; ; tries++) {
              try {
                const response = await fetch(SIGNALBOX_URL + path, { headers, signal: AbortSignal.timeout(30_000), ...init })
                return { status: response.status, body: await response.json() }
              } catch (error) {
                if (tries === 10) throw error
                await sleep(1000)
              }
            }
          }
          {{- .script | trim | nindent 10 }}
      env:
        - { name: SIGNALBOX_URL, value: "http://{{ include "signalbox.fullname" .context }}.{{ .context.Release.Namespace }}.svc:{{ $values.service.port }}" }
        {{- if include "signalbox.needsKeys" .context }}
        - { name: KEYS_NEEDED, value: "true" }
        {{- end }}
        {{- with $values.tests.clientKey }}
        {{- if .existingSecret }}
        - name: CLIENT_KEY
          valueFrom:
            secretKeyRef: { name: {{ .existingSecret }}, key: {{ .key }} }
        {{- end }}
        {{- end }}
      resources:
        requests: { cpu: 50m, memory: 64Mi }
        limits: { memory: 256Mi }
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
{{- end -}}

{{/* The model that is asked for a completion; nothing when none is known, or when a key is needed and none is given. */}}
{{- define "signalbox.testModel" -}}
{{- if or .Values.tests.clientKey.existingSecret (not (include "signalbox.needsKeys" .)) -}}
{{- if .Values.tests.model -}}
{{- .Values.tests.model -}}
{{- else if not (or .Values.config.providers .Values.config.models (include "signalbox.envFrom" .) .Values.extraEnv) -}}
demo/echo
{{- end -}}
{{- end -}}
{{- end -}}
